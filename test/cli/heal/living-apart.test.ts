import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { livingApart } from "../../../cli/heal/living-apart.ts";
import { toNumber } from "../../../lib/ipam/ranges.ts";
import { parseIp } from "../../../lib/netlink/inet.ts";
import { makeNode } from "../../helpers/node.ts";

test("addresses of pods are told by another process, which alone enters them", async () => {
  await using node = await makeNode("living-apart");
  const pod = await node.netns("pod");
  await pod.exec("ip", ["addr", "add", "10.9.9.9/32", "dev", "lo"]);
  await node.exec("ip", ["link", "set", "lo", "up"]);
  const script = `
    import { livingApart } from "${resolve("cli/heal/living-apart.ts")}";
    console.log([...await livingApart()].join(" "));`;
  const { stdout } = await node.exec(process.execPath, ["-e", script]);
  const numbers = stdout.trim().split(" ");
  for (const ip of ["10.9.9.9", "127.0.0.1"]) expect(numbers).toContain(`${toNumber(parseIp(ip)!)}`);
});

test("silence and half an answer are no answer", async () => {
  for (const line of ["true", "printf '1\\n2'", "printf '1\\nall'; exit 1", "echo no >&2; exit 3"])
    await expect(livingApart(["sh", "-c", line])).rejects.toThrow("Cannot tell the addresses in use in pods: ");
  expect(await livingApart(["sh", "-c", "printf '1\\n2\\nall'"])).toEqual(new Set([1n, 2n]));
});
