import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { makeNode } from "../../helpers/node.ts";

const script = `
  import { livingAddresses } from "${resolve("lib/ipam/living.ts")}";
  import { toText } from "${resolve("lib/ipam/ranges.ts")}";
  console.log([...livingAddresses()].map(toText).sort().join(" "));`;

test("living addresses are those of every namespace that a process or a mount keeps", async () => {
  await using node = await makeNode("living");
  const living = async () => (await node.exec(process.execPath, ["-e", script])).stdout.trim().split(" ");
  const pod = await node.netns("with space and \\backslash".replaceAll(/[ \\]/g, "-"));
  await pod.exec("ip", ["address", "add", "10.213.0.7/24", "dev", "lo"]);
  await pod.exec("ip", ["address", "add", "2001:db8::7/64", "dev", "lo", "nodad"]);
  await node.exec("sh", [
    "-c",
    "setsid unshare -n sh -c 'ip address add 10.213.0.8/32 dev lo; exec sleep 60' >/dev/null 2>&1 &",
  ]);
  await node.exec("ip", ["address", "add", "10.213.0.9/32", "dev", "lo"]);
  await node.exec("mkdir", ["-p", "/run/odd mounts"]);
  await node.exec("touch", ["/run/odd mounts/one"]);
  await node.exec("unshare", [
    "-n",
    "sh",
    "-c",
    "ip address add 10.213.0.10/32 dev lo; mount --bind /proc/$$/ns/net '/run/odd mounts/one'",
  ]);
  let found = await living();
  for (let i = 0; !found.includes("10.213.0.8") && i < 50; i++) {
    await Bun.sleep(20);
    found = await living();
  }
  for (const address of ["10.213.0.7", "10.213.0.8", "10.213.0.9", "10.213.0.10", "2001:db8::7"]) {
    expect(found).toContain(address);
  }
  await pod.close();
  found = await living();
  expect(found).not.toContain("10.213.0.7");
  expect(found).toContain("10.213.0.10");
});
