import { expect, test } from "bun:test";
import { Footings } from "../../../cli/heal/footing.ts";
import { pathsOf } from "../../../lib/peers/conf.ts";
import { onNode } from "../../helpers/namespace.ts";

const paths = pathsOf("pods", { type: "routes" })!;
const self = { name: "a", subnets: ["10.1.1.0/24"], addresses: ["192.0.2.1", "2001:db8::1"] };

test("what moves is the link, its address and MTU, and what is beside; links of pods are nothing to it", async () => {
  await onNode(async ({ node, ns, ip }) => {
    const run = (command: string) => node.exec("bash", ["-ec", command]);
    await run(`for link in one two; do ip link add $link type veth peer name $link.far; ip link set $link up; done
      ip addr add 192.0.2.1/24 dev one; ip addr add 198.51.100.1/24 dev two`);
    const index = async (name: string) => (await ip("link", "show", name))[0].ifindex as number;
    const said: string[] = [];
    const footings = new Footings(
      () => self,
      (text) => said.push(text),
      ns,
    );
    const moved = async (command: string, ...changed: number[]) => {
      await run(command);
      return footings.hasMoved(paths, new Set(changed));
    };
    expect(footings.isNew(paths)).toBe(true);
    expect(await moved("")).toBe(false);
    expect(footings.isNew(paths)).toBe(false);
    const pod = "ip link add tn1 type veth peer name tn2; ip link set tn1 up; ip addr add 10.1.1.1/24 dev tn1";
    expect(await moved(pod)).toBe(false);
    expect(await moved("ip link set tn1 down", await index("tn1"))).toBe(false);
    for (const command of [
      "ip link set one mtu 1400",
      "ip link set two down",
      "ip link set two up",
      "ip addr add 203.0.113.1/24 dev one",
      "ip addr del 198.51.100.1/24 dev two",
      "ip addr add 198.51.100.1/24 dev two",
    ]) {
      expect([command, await moved(command), await moved("")]).toEqual([command, true, false]);
    }
    // Back already, and yet the kernel has taken routes away.
    for (const link of ["one", "two"]) expect(await moved("", await index(link))).toBe(true);

    expect(footings.isMissing("pods")).toBe(false);
    for (const _ of [1, 2]) await moved("ip link set one down");
    expect(footings.isMissing("pods")).toBe(true);
    expect(said).toEqual(['pods: Cannot reach other nodes: link "one", the underlay, is down']);
    expect(await moved("ip link set one up")).toBe(true);
    expect(footings.isMissing("pods")).toBe(false);
    // An address that is still being tested for duplicates cannot be a source yet.
    expect(await moved("ip addr add 2001:db8::1/64 dev one")).toBe(true);
    expect(footings.isMissing("pods")).toBe(true);
    expect(await moved("ip addr del 2001:db8::1/64 dev one")).toBe(true);
    expect(footings.isMissing("pods")).toBe(false);
  });
});

test("a network without a snapshot has nothing that could move", () => {
  const footings = new Footings(() => undefined);
  for (const _ of [1, 2]) expect(footings.hasMoved(paths, new Set([1]))).toBe(false);
  expect(footings.isMissing("pods")).toBe(false);
});
