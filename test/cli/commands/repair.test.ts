import { expect, test } from "bun:test";
import { join } from "node:path";
import { attach } from "../../helpers/libcni.ts";
import { makeNode } from "../../helpers/node.ts";
import { leftOver, snapshot } from "../../helpers/snapshot.ts";
import { tell } from "../../helpers/underlay.ts";

const main = join(import.meta.dir, "../../../cli/main.ts");
const list = {
  cniVersion: "1.0.0",
  name: "pods",
  plugins: [
    { type: "bridge", isGateway: true, ipMasq: true, ipam: { type: "host-local", subnet: "10.1.0.0/24" } },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
};

test("what was taken away is told by a dry run, brought back by a real one, and missed by none after that", async () => {
  await using node = await makeNode("repair");
  const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
  await attach(node, list, await node.netns("a"), "a", { portMappings });
  const before = await snapshot(node);
  const repair = (...args: string[]) =>
    node.exec(process.execPath, ["run", main, "repair", ...args], { reject: false });
  expect(await repair()).toMatchObject({ exitCode: 0, stdout: "Nothing is missing." });
  await node.exec("bash", ["-ec", "nft flush ruleset; ip link delete cni0"]);
  const broken = await snapshot(node);
  const dry = await repair("--dry-run", "--json");
  expect(dry.exitCode).toBe(1);
  const { repairs } = JSON.parse(dry.stdout);
  expect(repairs.map(({ kind, attachment }: any) => [kind, attachment])).toEqual(
    ["bridge", "port", "address", "route", "masquerade", "published ports"].map((kind) => [kind, "pods/a/eth0"]),
  );
  expect(leftOver(broken, await snapshot(node))).toEqual([]);
  const done = await repair();
  expect(done.exitCode).toBe(0);
  expect(done.stdout).toMatch(/^masquerade +pods\/a\/eth0 +back +Cannot find/m);
  expect(leftOver(before, await snapshot(node))).toEqual([]);
  expect(await repair("--dry-run")).toMatchObject({ exitCode: 0, stdout: "Nothing is missing." });
}, 20_000);

test("a pair that is made again carries no more than the tunnel, which results of before 1.1.0 do not tell", async () => {
  await using node = await makeNode("repair-mtu", { uplink: true });
  await tell(node, "n1", [
    { name: "n1", subnets: ["10.1.0.0/24"], addresses: ["192.0.2.1"] },
    { name: "n2", subnets: ["10.2.0.0/24"], addresses: ["192.0.2.2"] },
  ]);
  const pod = await node.netns("a");
  await attach(node, { ...list, plugins: [list.plugins[0]!, { type: "vxlan" }] }, pod, "a");
  const before = await snapshot(node);
  const mtu = async () => JSON.parse((await pod.exec("ip", ["-j", "link", "show", "eth0"])).stdout)[0].mtu;
  expect(await mtu()).toBe(1450);
  await pod.exec("ip", ["link", "delete", "eth0"]);
  const { stdout } = await node.exec(process.execPath, ["run", main, "repair", "--json"]);
  const [link, lowered] = JSON.parse(stdout).repairs;
  expect(link).toMatchObject({ kind: "link", attachment: "pods/a/eth0" });
  expect(lowered).toMatchObject({ kind: "link", name: `${link.name}, MTU`, why: expect.stringContaining("over 1450") });
  expect(await mtu()).toBe(1450);
  expect(leftOver(before, await snapshot(node))).toEqual([]);
}, 20_000);

test("a folder of results that cannot be read is told", async () => {
  await using node = await makeNode("repair-none");
  const { exitCode, stderr } = await node.exec(process.execPath, ["run", main, "repair", "--cache", "/none"], {
    reject: false,
  });
  expect(exitCode).toBe(1);
  expect(stderr).toContain("Cannot read /none");
});
