// ipMasq on a host that masquerades for 1,000 other pods: the reference keeps three rules for each, ours one set element.
// Only their rules and elements are made, not the pods.
import { type Findings, interleave, once, row } from "../measure.ts";
import { feed, must, type Node } from "../node.ts";
import { bridgeConf, call, podSteps, SUBNET } from "../pod.ts";

const OTHERS = 1000;

export function measureMasquerade(node: Node): Findings {
  const sides = node.sides.filter(({ name }) => name !== "floor");
  for (const side of sides) {
    const seed = call(side, "bridge", "ADD", { id: "seed", netns: side.pods[0]! }, bridgeConf(side, true));
    const { output } = once(side, seed);
    const [address] = JSON.parse(output).ips[0].address.split("/");
    if (!addElements(address)) addRules();
    must("ip", "netns", "exec", `${side.name}-0`, "ip", "link", "delete", "eth0");
  }
  const found = interleave(sides, node.options.pairs, podSteps(true));
  return {
    rows: [
      row("ADD with ipMasq, 1,000 other pods", found.get("ADD")!, 0.15),
      row("DEL with ipMasq, 1,000 other pods", found.get("DEL")!),
    ],
  };
}

/** Repeats, for other addresses, every set or map element of table "tenon" that speaks of `address`; false without such a table. */
function addElements(address: string): boolean {
  const { nftables } = JSON.parse(must("nft", "-j", "list", "ruleset"));
  const sets = nftables.map((object: any) => object.set ?? object.map).filter((set: any) => set?.table === "tenon");
  if (sets.length === 0) return false;
  const commands = sets.flatMap(({ family, table, name, elem = [] }: any) => {
    const own = elem.filter((element: unknown) => JSON.stringify(element).includes(`"${address}"`));
    const added = others().flatMap((other, at) => own.map((element: unknown) => renamed(element, address, other, at)));
    return added.length ? [{ add: { element: { family, table, name, elem: added } } }] : [];
  });
  if (commands.length === 0) throw new Error(`Cannot copy elements: none in table tenon speaks of ${address}`);
  feed(JSON.stringify({ nftables: commands }), "nft", "-j", "-f", "-");
  return true;
}

function renamed(element: unknown, from: string, to: string, at: number): unknown {
  return JSON.parse(JSON.stringify(element).replaceAll(`"${from}"`, `"${to}"`).replaceAll("seed", `other-${at}`));
}

/** What the reference makes for one IPv4 address, as iptables-save shows it after an ADD. */
function addRules(): void {
  const name = (at: number) =>
    `CNI-${new Bun.CryptoHasher("sha512").update(`benchother-${at}`).digest("hex").slice(0, 24)}`;
  const chains = others().map((_, at) => `:${name(at)} - [0:0]`);
  const rules = others().flatMap((address, at) => {
    const comment = `-m comment --comment "name: \\"bench\\" id: \\"other-${at}\\""`;
    return [
      `-A POSTROUTING -s ${address}/32 ${comment} -j ${name(at)}`,
      `-A ${name(at)} -d ${SUBNET} ${comment} -j ACCEPT`,
      `-A ${name(at)} ! -d 224.0.0.0/4 ${comment} -j MASQUERADE`,
    ];
  });
  feed(["*nat", ...chains, ...rules, "COMMIT", ""].join("\n"), "iptables-restore", "--noflush");
}

/** Addresses far from those that the measured pods get. */
function others(): string[] {
  return Array.from({ length: OTHERS }, (_, at) => `10.71.${100 + (at >> 8)}.${at & 255}`);
}
