// Conditions on packets as configurations write them, in the words of iptables(8) or nft(8): what the reference hands to
// these programs. Served is what both have in common: addresses and the link that a packet came by.
//
//   -s -d -i, each with ! before it or not, and their long forms:   ["!", "-d", "192.0.2.0/24", "-i", "eth0"]
//   ip|ip6 saddr|daddr, iifname, each with != or not:               ["ip", "daddr", "!=", "192.0.2.0/24"]
import { CniError, codes } from "../cni/errors.ts";
import { type Cidr, parseCidr, parseIp } from "../netlink/inet.ts";
import {
  byLink,
  fromNetwork,
  notByLink,
  notFromNetwork,
  notToNetwork,
  type Phrase,
  toNetwork,
} from "../nftables/phrase.ts";

type Subject = "source" | "destination" | "link";

const options: Record<string, Subject> = {
  "-s": "source",
  "--src": "source",
  "--source": "source",
  "-d": "destination",
  "--dst": "destination",
  "--destination": "destination",
  "-i": "link",
  "--in-interface": "link",
};

const phrases = {
  source: { true: fromNetwork, false: notFromNetwork },
  destination: { true: toNetwork, false: notToNetwork },
} as const;

/** The phrases that say so of packets of one family. What cannot be said is refused with code 2. */
export function conditionsOf(words: readonly string[], family: 4 | 6): Phrase[] {
  const all = words.flatMap((text) => text.split(/\s+/)).filter((word) => word !== "");
  const found: Phrase[] = [];
  let at = 0;
  const refuse = (reason: string): never => {
    throw new CniError(codes.unsupportedField, `Cannot use conditionsV${family} ${JSON.stringify(all)}: ${reason}`);
  };
  const next = () => all[at++] ?? refuse("a word is missing at the end");
  while (at < all.length) {
    let word = next();
    const negated = word === "!";
    if (negated) word = next();
    let subject = Object.hasOwn(options, word) ? options[word] : undefined;
    let same = !negated;
    if (!subject && !negated) {
      if (word === "meta") word = next();
      if (word === "iifname") subject = "link";
      else if (word === "ip" || word === "ip6") {
        if (word !== (family === 4 ? "ip" : "ip6")) refuse(`"${word}" is the other family`);
        const field = next();
        subject = field === "saddr" ? "source" : field === "daddr" ? "destination" : undefined;
        word = `${word} ${field}`;
      }
      if (all[at] === "!=" || all[at] === "==") same = next() === "==";
    }
    if (!subject) return refuse(`"${word}" is none of the conditions that are served: addresses and the incoming link`);
    const value = next();
    found.push(subject === "link" ? link(value, same, refuse) : network(subject, value, same, family, refuse));
  }
  return found;
}

type Refuse = (reason: string) => never;

function link(value: string, same: boolean, refuse: Refuse): Phrase {
  const name = value.replace(/^"(.*)"$/, "$1");
  const isName = name !== "" && new TextEncoder().encode(name).length <= 15 && !/[+*{}@]/.test(name);
  if (!isName) refuse(`"${value}" is not the name of one link`);
  return same ? byLink(name) : notByLink(name);
}

function network(
  subject: "source" | "destination",
  value: string,
  same: boolean,
  family: 4 | 6,
  refuse: Refuse,
): Phrase {
  const ip = parseIp(value);
  const cidr: Cidr | undefined = ip ? { ip, prefix: ip.length * 8 } : parseCidr(value);
  if (!cidr) return refuse(`"${value}" is not one address or network`);
  if (cidr.ip.length !== (family === 4 ? 4 : 16)) refuse(`"${value}" is of the other family`);
  return phrases[subject][`${same}`](cidr);
}
