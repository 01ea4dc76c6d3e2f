import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { namesOf } from "../../../lib/ip/plug.ts";
import { assertMtu, lowerMtu } from "../../../lib/ip/pod-mtu.ts";
import { onNode } from "../../helpers/namespace.ts";
import type { Node } from "../../helpers/node.ts";

async function pair(node: Node): Promise<void> {
  await node.exec("bash", [
    "-ec",
    `ip link add cni0 type bridge; ip link set cni0 up
     ip link add tn1 type veth peer name eth0 netns pod; ip link set tn1 master cni0 up; ip -n pod link set eth0 up`,
  ]);
}
const result = (netns: string, mtu?: number) => ({
  interfaces: [
    { name: "cni0", mtu },
    { name: "tn1", mtu },
    { name: "eth0", mtu, sandbox: netns },
    { name: "eth0", mtu },
  ],
  ips: [{ address: "10.1.1.2/24", interface: 2 }],
});

test("both ends carry less from then on, and the result says so", async () => {
  await onNode(async ({ node, ns, ip }) => {
    await pair(node);
    const end = { netns: node.path("/run/netns/pod"), ifname: "eth0" };
    const lowered = lowerMtu(ns, end, result(end.netns, 1500), 1450);
    expect(lowered.interfaces!.map(({ mtu }) => mtu)).toEqual([1450, 1450, 1450, 1500]);
    expect(lowered.ips).toEqual(result(end.netns).ips);
    const mtus = (await ip("link", "show", "type", "veth")).map(({ mtu }: any) => mtu);
    expect(mtus).toEqual([1450]);
    assertMtu(end, 1450);
    expect(() => assertMtu(end, 1400)).toThrow('Cannot use link "eth0": its MTU is 1450, over 1400');
    // What is low enough stays, also where the result does not tell.
    expect(lowerMtu(ns, end, result(end.netns), 1460)).toEqual(result(end.netns));
    expect(
      lowerMtu(ns, end, result(end.netns), 1440)
        .interfaces!.slice(0, 3)
        .map(({ mtu }) => mtu),
    ).toEqual([1440, 1440, 1440]);
  });
});

test("a result that tells of less is believed, and a link that is missing is named", async () => {
  await onNode(async ({ node, ns }) => {
    const end = { netns: node.path("/run/netns/pod"), ifname: "eth0" };
    expect(lowerMtu(ns, end, result(end.netns, 1400), 1450)).toEqual(result(end.netns, 1400));
    expect(() => lowerMtu(ns, end, result(end.netns, 1500), 1450)).toThrow('Cannot find link "eth0" in the container');
    expect(() => assertMtu(end, 1450)).toThrow('Cannot find link "eth0" in the container');
    // A link without another end on the host.
    await node.exec("ip", ["-n", "pod", "link", "add", "eth0", "type", "bridge"]);
    expect(lowerMtu(ns, end, result(end.netns, 1500), 1450).interfaces![2]!.mtu).toBe(1450);
  });
});

test("as a part it is right while the host's end carries no more, or is not there", async () => {
  await onNode(async ({ node }) => {
    const { hostName } = namesOf({ network: "net", containerId: "c", ifname: "eth0" });
    const source = resolve(import.meta.dir, "../../../lib/ip/pod-mtu.ts");
    const run = async (mtu: number | undefined) => {
      const { stdout } = await node.exec(process.execPath, [
        "-e",
        `import { mtuPart } from "${source}";
        const prevResult = ${JSON.stringify(result("/run/netns/pod"))};
        const part = mtuPart({ network: "net", containerId: "c", ifname: "eth0", prevResult }, () => ${mtu});
        const said = (body) => { try { body(); return "done"; } catch ({ message }) { return message; } };
        console.log(JSON.stringify([part.check, () => part.ensure(false), part.check].map(said)));`,
      ]);
      return JSON.parse(stdout);
    };
    expect(await run(1450)).toEqual(["done", "done", "done"]);
    await node.exec("ip", ["link", "add", hostName, "type", "veth", "peer", "name", "eth0", "netns", "pod"]);
    expect(await run(undefined)).toEqual(["done", "done", "done"]);
    expect(await run(1450)).toEqual([`Cannot use link "${hostName}": its MTU is 1500, over 1450`, "done", "done"]);
  });
});
