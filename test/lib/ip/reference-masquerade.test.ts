// iptables and nft write the rules as the reference's executables leave them; we look at them and take them away.
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  hasReferenceMasquerade,
  plainOf,
  removeReferenceMasquerade,
  sweepReferenceMasquerade,
} from "../../../lib/ip/reference-masquerade.ts";
import { commentOf, masqueradeChain, masqueradeName } from "../../../lib/ip/reference-names.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;

beforeEach(async () => {
  node = await makeNode("masquerade");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});

afterEach(async () => {
  ns.close();
  await node.close();
});

const owner = (containerId: string, network = "net", ifname = "eth0") => ({ network, containerId, ifname });
const one = { ...owner("c1"), addresses: ["10.1.0.2/16", "fd00:1::2/64"] };
const two = { ...owner("c2"), addresses: ["10.1.0.3/16", "fd00:1::3/64"] };
const other = { ...owner("c1", "net2"), addresses: ["10.2.0.2/16", "fd00:2::2/64"] };
type Pod = typeof one;

async function inIptables(...pods: Pod[]): Promise<void> {
  for (const six of [false, true]) {
    const lines = ["*nat"];
    for (const pod of pods) {
      const chain = masqueradeChain(pod);
      const said = `-m comment --comment "${commentOf(pod).replaceAll('"', '\\"')}"`;
      if (!lines.includes(`:${chain} -`)) lines.push(`:${chain} -`);
      for (const address of pod.addresses.filter((text) => text.includes(":") === six))
        lines.push(
          `-A ${chain} -d ${address} ${said} -j ACCEPT`,
          `-A ${chain} ! -d ${six ? "ff00::/8" : "224.0.0.0/4"} ${said} -j MASQUERADE`,
          `-A POSTROUTING -s ${address.split("/")[0]} ${said} -j ${chain}`,
        );
    }
    const input = [...lines, "COMMIT", ""].join("\n");
    await node.exec(six ? "ip6tables-nft-restore" : "iptables-nft-restore", ["--noflush"], { input });
  }
}

async function inNftables(...pods: Pod[]): Promise<void> {
  const rules = pods.flatMap((pod) =>
    pod.addresses.map((address) => {
      const word = address.includes(":") ? "ip6" : "ip";
      const { network, ifname, containerId } = pod;
      const comment = `${masqueradeName(pod)}, net: ${network}, if: ${ifname}, id: ${containerId}`;
      return `${word} saddr ${address.split("/")[0]} ${word} daddr != ${address} masquerade comment "${comment}"`;
    }),
  );
  const isMade = (await ruleset()).includes("chain postrouting");
  const base = "chain postrouting {\ntype nat hook postrouting priority 100\ngoto masq_checks\n}\n";
  const input = `table inet cni_plugins_masquerade {\nchain masq_checks {\n${rules.join("\n")}\n}\n${isMade ? "" : base}}\n`;
  await node.exec("nft", ["-f", "-"], { input });
}

const ruleset = async () => (await node.exec("nft", ["-s", "list", "ruleset"])).stdout;

for (const [backend, write] of [
  ["iptables", inIptables],
  ["nftables", inNftables],
] as const) {
  test(`${backend}: each attachment is found, and taken away without touching the others`, async () => {
    await write(two, other);
    const before = await ruleset();
    await write(one);
    for (const pod of [one, two, other]) expect(hasReferenceMasquerade(ns, pod, pod.addresses)).toBe(true);
    expect(hasReferenceMasquerade(ns, one, two.addresses)).toBe(false);
    expect(hasReferenceMasquerade(ns, owner("c3"), one.addresses)).toBe(false);
    removeReferenceMasquerade(ns, one, one.addresses);
    expect(await ruleset()).toBe(before);
    expect(hasReferenceMasquerade(ns, one, one.addresses)).toBe(false);
    removeReferenceMasquerade(ns, one);
    expect(await ruleset()).toBe(before);
  });

  test(`${backend}: without addresses everything of the attachment goes`, async () => {
    await write(two);
    const before = await ruleset();
    await write(one);
    removeReferenceMasquerade(ns, one);
    expect(await ruleset()).toBe(before);
  });

  test(`${backend}: GC takes away the network's dead, and nobody else's`, async () => {
    await write(two, other);
    const before = await ruleset();
    await write(one);
    sweepReferenceMasquerade(ns, "net", [two]);
    expect(await ruleset()).toBe(before);
    sweepReferenceMasquerade(ns, "net2", []);
    sweepReferenceMasquerade(ns, "net", []);
    for (const pod of [one, two, other]) expect(await ruleset()).not.toContain(pod.addresses[0]!.split("/")[0]!);
  });
}

test("two interfaces of a container share a chain of iptables, which stays until both are gone", async () => {
  const second = { ...owner("c1", "net", "net1"), addresses: ["10.1.0.9/16"] };
  await inIptables({ ...second, addresses: second.addresses });
  const before = await ruleset();
  await inIptables(one);
  removeReferenceMasquerade(ns, one, one.addresses);
  expect(hasReferenceMasquerade(ns, second, second.addresses)).toBe(true);
  removeReferenceMasquerade(ns, second, second.addresses);
  expect(await ruleset()).not.toContain(masqueradeChain(second));
  expect(before).toContain(masqueradeChain(second));
});

test("half a chain, as a killed ADD leaves it, goes with DEL and with GC", async () => {
  const comment = commentOf(one).replaceAll('"', '\\"');
  for (const end of [() => removeReferenceMasquerade(ns, one), () => sweepReferenceMasquerade(ns, "net", [])]) {
    const chain = masqueradeChain(one);
    const input = `*nat\n:${chain} -\n-A ${chain} -d 10.1.0.0/16 -m comment --comment "${comment}" -j ACCEPT\nCOMMIT\n`;
    await node.exec("iptables-nft-restore", ["--noflush"], { input });
    end();
    expect(await ruleset()).not.toContain(chain);
  }
});

test("where there is nothing, nothing is made", async () => {
  removeReferenceMasquerade(ns, one, one.addresses);
  sweepReferenceMasquerade(ns, "net", []);
  expect(hasReferenceMasquerade(ns, one, one.addresses)).toBe(false);
  expect(await ruleset()).toBe("");
});

test("addresses are told as rules say them", () => {
  expect(plainOf(["10.1.0.2/16", "FD00:0::2/64", "10.1.0.3", "none"])).toEqual(["10.1.0.2", "fd00::2", "10.1.0.3"]);
});
