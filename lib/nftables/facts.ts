// What rules of others say, as far as it has to be known: the reverse of phrase.ts, for nft's words and for iptables' modules.
import { formatIp } from "../netlink/inet.ts";
import { comparisons } from "./expr/cmp.ts";
import { metaKeys } from "./expr/meta.ts";
import { destination } from "./expr/nat.ts";
import { bases } from "./expr/payload.ts";
import type { Rule } from "./rule.ts";
import { commentOf, destinationOf, moduleOf, portsOf } from "./xtables.ts";

/** What is told of a rule; what it says besides is not. Whole addresses alone: networks count as not said. */
export interface Facts {
  source?: string;
  destination?: string;
  /** Name of the link that the packet came by. */
  link?: string;
  /** IPPROTO_*. */
  protocol?: number;
  /** Destination ports. */
  ports?: number[];
  /** Where jump and goto lead. */
  chain?: string;
  /** Where connections are led. */
  to?: { ip: string; port: number };
  masquerades?: boolean;
  comment?: string;
}

type Held = "source" | "destination" | "link" | "protocol" | "port" | Uint8Array | undefined;

/** Offsets of addresses in the headers of both versions, by their length. */
const addressAt: Record<string, Held> = {
  "12/4": "source",
  "16/4": "destination",
  "8/16": "source",
  "24/16": "destination",
};

/** Reads a rule. */
export function factsOf({ expressions, comment, chain }: Rule): Facts {
  const facts: Facts = {};
  if (comment !== undefined) facts.comment = comment;
  const registers = new Map<number | undefined, Held>();
  for (const one of expressions) {
    if ("unknown" in one) {
      facts.comment ??= commentOf(one);
      facts.ports ??= portsOf(one);
      facts.to ??= destinationOf(one, chain.table.family === "ip" ? 4 : 16);
      if (moduleOf(one) === "MASQUERADE") facts.masquerades = true;
    } else if (one.name === "payload") {
      const network = one.base === bases.network ? addressAt[`${one.offset}/${one.length}`] : undefined;
      const port = one.base === bases.transport && one.offset === 2 && one.length === 2;
      registers.set(one.register, port ? "port" : network);
    } else if (one.name === "meta") {
      const held = one.key === metaKeys.l4proto ? "protocol" : one.key === metaKeys.iifname ? "link" : undefined;
      registers.set(one.register, held);
    } else if (one.name === "cmp") {
      if (one.op === comparisons.equal && one.value) say(facts, registers.get(one.register), one.value);
    } else if (one.name === "immediate") {
      if (one.verdict && "value" in one.verdict) registers.set(one.register, one.verdict.value);
      else if (one.verdict?.chain !== undefined) facts.chain = one.verdict.chain;
    } else if (one.name === "nat") {
      const [ip, port] = [registers.get(one.address), registers.get(one.port)];
      if (one.type === destination && ip instanceof Uint8Array && port instanceof Uint8Array)
        facts.to = { ip: formatIp(ip), port: portIn(port) };
    } else if (one.name === "masq") facts.masquerades = true;
    // Whatever else fills a register holds nothing that is told.
    else if ("register" in one) registers.set(one.register, undefined);
  }
  for (const name in facts) if (facts[name as keyof Facts] === undefined) delete facts[name as keyof Facts];
  return facts;
}

function say(facts: Facts, held: Held, value: Uint8Array): void {
  if (held === "source" || held === "destination") {
    if (value.length === 4 || value.length === 16) facts[held] = formatIp(value);
  } else if (held === "protocol") facts.protocol = value[0];
  else if (held === "port") facts.ports ??= [portIn(value)];
  else if (held === "link") facts.link = new TextDecoder().decode(value).split("\0")[0];
}

const portIn = (bytes: Uint8Array) => (bytes[0]! << 8) | bytes[1]!;
