import { expect, test } from "bun:test";
import {
  countData,
  fixed,
  isMap,
  nameKey,
  type PortMapping,
  type Published,
  wanted,
  wayOf,
} from "../../../lib/ip/port-mapping.ts";
import { formatIp } from "../../../lib/netlink/inet.ts";
import { hex } from "../../helpers/bytes.ts";

const web: PortMapping = { protocol: "tcp", hostPort: 8080, containerPort: 80 };
const dns: PortMapping = { protocol: "udp", hostPort: 53, containerPort: 5353 };
const sctp: PortMapping = { protocol: "sctp", hostPort: 65535, containerPort: 1 };
const dual = ["10.1.0.2/24", "fd00:1::2/64"];
const ports = (change: Partial<Published>): Published => ({
  ...{ label: "net/c1/eth0", name: "tnabc", addresses: dual, mappings: [web], hide: "none" },
  ...change,
});

/** Places in words: "SET protocol:port -> address:port", or "SET network -> pod". */
function words(change: Partial<Published>): string[] {
  return wanted(ports(change)).places.map((place) => {
    if (!isMap(place.set)) {
      const half = place.key.length / 2;
      return `${place.set.name} ${formatIp(place.key.slice(0, half))} -> ${formatIp(place.key.slice(half))}`;
    }
    const { protocol, hostIp = "any", hostPort, ip, port } = wayOf(place);
    return `${place.set.name} ${protocol} ${hostIp} ${hostPort} -> ${ip} ${port}`;
  });
}

test.each([
  ["each family of a mapping", {}, ["ports/ip 6 any 8080 -> 10.1.0.2 80", "ports/ip6 6 any 8080 -> fd00:1::2 80"]],
  [
    "each protocol",
    { addresses: [dual[0]!], mappings: [web, dns, sctp] },
    [
      "ports/ip 6 any 8080 -> 10.1.0.2 80",
      "ports/ip 17 any 53 -> 10.1.0.2 5353",
      "ports/ip 132 any 65535 -> 10.1.0.2 1",
    ],
  ],
  [
    "one address of the host, of its family alone",
    { mappings: [{ ...web, hostIp: "192.0.2.1" }] },
    ["ports/ip/at 6 192.0.2.1 8080 -> 10.1.0.2 80"],
  ],
  ["all addresses of one family", { mappings: [{ ...web, hostIp: "::" }] }, ["ports/ip6 6 any 8080 -> fd00:1::2 80"]],
  [
    "one address of IPv6",
    { mappings: [{ ...web, hostIp: "2001:db8::1" }] },
    ["ports/ip6/at 6 2001:db8::1 8080 -> fd00:1::2 80"],
  ],
  [
    "the same thing twice once",
    { addresses: [dual[0]!], mappings: [web, web] },
    ["ports/ip 6 any 8080 -> 10.1.0.2 80"],
  ],
  [
    "nothing for a family that the pod has not",
    { addresses: [dual[1]!], mappings: [{ ...web, hostIp: "0.0.0.0" }] },
    [],
  ],
  ["nothing without an address", { addresses: [] }, []],
  [
    "neighbours and the loopback that hide",
    { hide: "near" },
    [
      "ports/ip 6 any 8080 -> 10.1.0.2 80",
      "ports/from/ip/24 10.1.0.0 -> 10.1.0.2",
      "ports/from/ip/8 127.0.0.0 -> 10.1.0.2",
      "ports/ip6 6 any 8080 -> fd00:1::2 80",
      "ports/from/ip6/64 fd00:1:: -> fd00:1::2",
    ],
  ],
  [
    "everybody who hides",
    { addresses: [dual[0]!], hide: "all" },
    ["ports/ip 6 any 8080 -> 10.1.0.2 80", "ports/from/ip/0 0.0.0.0 -> 10.1.0.2"],
  ],
] as [string, Partial<Published>, string[]][])("an attachment wants %s", (_, change, places) => {
  expect(words(change)).toEqual(places);
});

test("keys and data are as nft(8) writes them", () => {
  const [place] = wanted(ports({ mappings: [{ ...web, hostIp: "192.0.2.1" }] })).places;
  expect(place!.key).toEqual(hex("c0 00 02 01 06 00 00 00 1f 90 00 00"));
  expect(place!.data).toEqual(hex("0a 01 00 02 00 50 00 00"));
  expect(nameKey("tnabc")).toEqual(hex('"tnabc" 00 00 00 00 00 00 00 00 00 00 00'));
  expect(countData(258)).toEqual(hex("02 01 00 00"));
});

test("a port twice, to different ports of the pod, is refused", () => {
  const twice = ports({ mappings: [web, { ...web, containerPort: 81 }] });
  expect(() => wanted(twice)).toThrow("Cannot publish tcp port 8080 of every address: it is asked for twice");
});

test("the holder of a place is named", () => {
  const [place] = wanted(ports({ mappings: [{ ...dns, hostIp: "192.0.2.1" }] })).places;
  expect(() => place!.taken!("net/c2/eth0")).toThrow(
    'Cannot publish udp port 53 of 192.0.2.1: attachment "net/c2/eth0" has it',
  );
});

test("conditions have maps of their own, the same for the same conditions, and rules in front", () => {
  const conditions = (four: string[]) => ({ conditions: { 4: four, 6: [] } });
  const sets = (four: string[]) => wanted(ports(conditions(four))).sets.map(({ name }) => name);
  const some = sets(["-d", "192.0.2.0/24"]);
  expect(some[0]).toMatch(/^ports\/if\/[0-9a-f]{12}\/ip$/);
  expect(some.slice(1)).toEqual([`${some[0]}/at`, "ports/ip6", "ports/ip6/at"]);
  expect(sets(["-d 192.0.2.0/24"])).toEqual(some);
  expect(sets(["-d", "192.0.2.0/25"])).not.toEqual(some);
  const rules = wanted(ports(conditions(["-d", "192.0.2.0/24"]))).rules();
  expect(rules.map(({ rule, front }) => [rule.chain.name, rule.comment, front])).toEqual([
    ["hostports", some[0]!, true],
    ["hostports", `${some[0]}/at`, true],
  ]);
  expect(() => wanted(ports(conditions(["-m", "owner"])))).toThrow("conditionsV4");
});

test("the fixed rules name every fixed map", () => {
  const { sets, rules } = fixed();
  const looked = rules.flatMap(({ expressions }) =>
    expressions.flatMap((one) => (one.name === "lookup" && "set" in one ? one.set : [])),
  );
  expect(["ports/attachments", ...looked]).toEqual(sets.map(({ name }) => name));
});

test.each(["10.1.0.2", "nowhere/24"])("%p is refused as an address of a pod", (address) => {
  expect(() => wanted(ports({ addresses: [address] }))).toThrow(TypeError);
});
