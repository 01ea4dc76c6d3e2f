// Truth are the phrases, which the tests of lib/nftables/phrase.ts compare with nft(8).
import { expect, test } from "bun:test";
import { type CniError, codes } from "../../../lib/cni/errors.ts";
import { conditionsOf } from "../../../lib/ip/packet-conditions.ts";
import { parseCidr } from "../../../lib/netlink/inet.ts";
import {
  byLink,
  fromNetwork,
  notByLink,
  notFromNetwork,
  notToNetwork,
  type Phrase,
  toNetwork,
} from "../../../lib/nftables/phrase.ts";

const net = (text: string) => parseCidr(text)!;
const four = net("192.0.2.0/24");
const six = net("fc00::/7");

test.each([
  [[], 4, []],
  [["-d", "192.0.2.0/24"], 4, [toNetwork(four)]],
  [["!", "-d", "192.0.2.0/24"], 4, [notToNetwork(four)]],
  [["--destination", "192.0.2.1"], 4, [toNetwork(net("192.0.2.1/32"))]],
  [["-s", "192.0.2.0/24", "!", "-i", "eth0"], 4, [fromNetwork(four), notByLink("eth0")]],
  [["!", "--src", "fc00::/7"], 6, [notFromNetwork(six)]],
  [["--in-interface", "eth0.5"], 6, [byLink("eth0.5")]],
  [["ip", "daddr", "192.0.2.0/24"], 4, [toNetwork(four)]],
  [["ip daddr != 192.0.2.0/24"], 4, [notToNetwork(four)]],
  [["ip6", "saddr", "==", "fc00::/7", "iifname", "!=", '"eth0"'], 6, [fromNetwork(six), notByLink("eth0")]],
  [["meta iifname eth0"], 4, [byLink("eth0")]],
] as [string[], 4 | 6, Phrase[]][])("%j is understood", (words, family, phrases) => {
  expect(conditionsOf(words, family)).toEqual(phrases);
});

test.each([
  [["-d"], 4, "a word is missing"],
  [["!"], 4, "a word is missing"],
  [["-p", "tcp"], 4, '"-p"'],
  [["-m", "statistic"], 4, '"-m"'],
  [["-d", "192.0.2.0/24,198.51.100.0/24"], 4, "not one address or network"],
  [["-d", "example.org"], 4, '"example.org"'],
  [["-d", "fc00::/7"], 4, "other family"],
  [["ip6", "daddr", "fc00::/7"], 4, "other family"],
  [["ip", "protocol", "tcp"], 4, '"ip protocol"'],
  [["ip", "daddr", "@nodes"], 4, '"@nodes"'],
  [["-i", "eth+"], 4, '"eth+"'],
  [["!", "ip", "daddr", "192.0.2.1"], 4, '"ip"'],
  [["constructor", "x"], 4, '"constructor" is none'],
] as [string[], 4 | 6, string][])("%j is refused as unsupported, and named", (words, family, named) => {
  const refusal = (() => {
    try {
      conditionsOf(words, family);
    } catch (error) {
      return error as CniError;
    }
  })();
  expect(refusal?.code).toBe(codes.unsupportedField);
  expect(refusal?.message).toContain(`conditionsV${family}`);
  expect(refusal?.message).toContain(named);
});
