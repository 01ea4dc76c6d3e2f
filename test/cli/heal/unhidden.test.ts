import { expect, test } from "bun:test";
import { ask, startEcho, type Target } from "../../helpers/echo.ts";
import { startHealer, until } from "../../helpers/healing.ts";
import { attach } from "../../helpers/libcni.ts";
import { makeNode, uplink } from "../../helpers/node.ts";

const list = {
  cniVersion: "1.0.0",
  name: "pods",
  plugins: [
    {
      type: "bridge",
      isGateway: true,
      ipMasq: true,
      ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] },
    },
  ],
};

test("a connection that began without masquerade is masqueraded as soon as that is back; those to neighbours go on", async () => {
  await using node = await makeNode("unhidden", { uplink: true });
  const [pod, other] = [await node.netns("pod"), await node.netns("other")];
  await attach(node, list, pod, "a");
  const { result } = await attach(node, list, other, "b");
  await startEcho(node, node.outside!, "outside", [90]);
  await startEcho(node, other, "other", [90]);
  // Late enough that something can begin meanwhile.
  await using healer = await startHealer(node, { gather: 2500, anchor: true });
  await node.exec("nft", ["flush", "ruleset"]);
  const away: Target = ["udp", uplink.outside[0], 90, 4444];
  const near: Target = ["udp", result.ips[0].address.split("/")[0], 90, 4445];
  expect(await ask(pod, [away, near])).toEqual(["timeout", "other 10.1.0.2"]);
  await until(
    () => healer.log,
    (lines) => lines.some((line) => line.includes("begin anew")),
  );
  expect(healer.log).toContain("Connections that were not masqueraded begin anew: 1");
  expect(await ask(pod, [away, near])).toEqual([`outside ${uplink.node[0]}`, "other 10.1.0.2"]);
}, 20_000);
