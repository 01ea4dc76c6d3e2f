import { expect, describe as group, test } from "bun:test";
import fc from "fast-check";
import { object } from "../../../lib/cni/config.ts";
import { CniError } from "../../../lib/cni/errors.ts";
import {
  describe,
  isUsable,
  rangeConf,
  rangeOf,
  readRangeSets,
  requestedAddress,
  sizeOf,
  toNumber,
  toText,
} from "../../../lib/ipam/ranges.ts";
import { parseIp } from "../../../lib/netlink/inet.ts";

const number = (text: string) => toNumber(parseIp(text)!);
const read = (...sets: object[][]) =>
  readRangeSets(
    sets.map((set, i) =>
      set.map((range, j) => ({ key: `ranges[${i}][${j}]`, range: object(rangeConf).read(range, "", {}) })),
    ),
  );
const spans = (range: object) => read([range])[0]![0]!.spans.map(([first, last]) => `${toText(first)}-${toText(last)}`);
const refusal = (...sets: object[][]): string => {
  try {
    read(...sets);
  } catch (error) {
    expect(error).toBeInstanceOf(CniError);
    expect((error as CniError).code).toBe(7);
    return (error as Error).message;
  }
  throw new Error("It was accepted");
};

test("an address is the same number and text both ways, and no IPv4 address is an IPv6 one", () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      const address = number(text);
      expect(number(toText(address))).toBe(address);
    }),
  );
  expect(number("10.1.2.3")).toBe(number("::ffff:10.1.2.3"));
  expect(number("10.1.2.3")).not.toBe(number("::10.1.2.3"));
  expect(toText(number("10.1.2.255") + 1n)).toBe("10.1.3.0");
  expect(toText(number("2001:db8::ffff:ffff") + 1n)).toBe("2001:db8::1:0:0");
});

group("a range alone", () => {
  test("goes from the first address to the last but the broadcast's, without the gateway", () => {
    expect(spans({ subnet: "10.1.2.0/24" })).toEqual(["10.1.2.2-10.1.2.254"]);
    expect(spans({ subnet: "192.0.2.0/25" })).toEqual(["192.0.2.2-192.0.2.126"]);
    expect(spans({ subnet: "192.0.2.128/30" })).toEqual(["192.0.2.130-192.0.2.130"]);
    expect(spans({ subnet: "2001:db8:1::/64" })).toEqual(["2001:db8:1::2-2001:db8:1:0:ffff:ffff:ffff:ffff"]);
    expect(spans({ subnet: "2001:db8:1::/126" })).toEqual(["2001:db8:1::2-2001:db8:1::3"]);
    expect(describe(read([{ subnet: "10.1.2.0/24" }])[0]!)).toBe("10.1.2.1-10.1.2.254");
  });

  test("has the start, end and gateway that it is given", () => {
    const range = { subnet: "10.1.2.0/24", rangeStart: "10.1.2.40", rangeEnd: "10.1.2.50", gateway: "10.1.2.45" };
    expect(spans(range)).toEqual(["10.1.2.40-10.1.2.44", "10.1.2.46-10.1.2.50"]);
    expect(toText(read([range])[0]![0]!.gateway)).toBe("10.1.2.45");
    expect(spans({ ...range, gateway: "10.1.2.40" })).toEqual(["10.1.2.41-10.1.2.50"]);
    expect(spans({ ...range, gateway: "10.9.9.9" })).toEqual(["10.1.2.40-10.1.2.50"]);
    expect(spans({ ...range, gateway: "" })).toEqual(["10.1.2.40-10.1.2.50"]);
    expect(spans({ subnet: "10.1.2.0/24", rangeStart: null, rangeEnd: "" })).toEqual(["10.1.2.2-10.1.2.254"]);
  });

  test("gives out neither the network's nor the broadcast address, though they may be named", () => {
    const range = { subnet: "10.1.2.0/24", rangeStart: "10.1.2.0", rangeEnd: "10.1.2.255" };
    expect(spans(range)).toEqual(["10.1.2.2-10.1.2.254"]);
    expect(spans({ ...range, gateway: "10.1.2.128" })).toEqual(["10.1.2.1-10.1.2.127", "10.1.2.129-10.1.2.254"]);
    expect(spans({ ...range, rangeStart: "10.1.2.255" })).toEqual([]);
    expect(spans({ ...range, rangeEnd: "10.1.2.0" })).toEqual([]);
    expect(spans({ subnet: "2001:db8::/64", rangeStart: "2001:db8::", rangeEnd: "2001:db8::2" })).toEqual([
      "2001:db8::2-2001:db8::2",
    ]);
    expect(describe(read([range])[0]!)).toBe("10.1.2.0-10.1.2.255");
  });

  test("leaves out what is excluded: addresses, networks, and from one to another", () => {
    const exclude = ["10.1.2.10", "10.1.2.16/28", "10.1.2.200 - 10.1.2.255", "10.1.2.0/30", "10.1.2.20-10.1.2.40"];
    expect(spans({ subnet: "10.1.2.0/24", exclude })).toEqual([
      "10.1.2.4-10.1.2.9",
      "10.1.2.11-10.1.2.15",
      "10.1.2.41-10.1.2.199",
    ]);
    expect(spans({ subnet: "10.1.2.0/24", exclude: ["10.1.0.0/16"] })).toEqual([]);
    expect(spans({ subnet: "2001:db8::/64", exclude: ["2001:db8::/65"] })).toEqual([
      "2001:db8:0:0:8000::-2001:db8::ffff:ffff:ffff:ffff",
    ]);
  });

  test("has as many addresses as can be found in it", () => {
    const set = read([
      { subnet: "10.1.2.0/28", exclude: ["10.1.2.4/31"] },
      { subnet: "10.1.3.0/29", rangeStart: "10.1.3.3" },
    ])[0]!;
    let found = 0n;
    for (let address = number("10.1.1.0"); address < number("10.1.4.0"); address++) if (isUsable(set, address)) found++;
    expect(found).toBe(13n - 2n + 4n);
    expect(sizeOf(set)).toBe(found);
    expect(sizeOf(read([{ subnet: "2001:db8::/32" }])[0]!)).toBe(2n ** 96n - 2n);
  });
});

group("range sets", () => {
  test("find the range of an address", () => {
    const set = read([{ subnet: "10.1.2.0/24", rangeStart: "10.1.2.9" }, { subnet: "10.1.3.0/24" }])[0]!;
    expect(rangeOf(set, number("10.1.3.1"))).toBe(set[1]!);
    expect(rangeOf(set, number("10.1.2.9"))).toBe(set[0]!);
    expect(rangeOf(set, number("10.1.2.8"))).toBeUndefined();
    expect(rangeOf(set, number("::10.1.2.9"))).toBeUndefined();
  });

  test("may share a subnet where they do not overlap", () => {
    const halves = [
      { subnet: "10.1.2.0/24", rangeEnd: "10.1.2.99" },
      { subnet: "10.1.2.0/24", rangeStart: "10.1.2.100" },
    ];
    expect(read(halves)).toHaveLength(1);
    expect(read([halves[0]!], [halves[1]!])).toHaveLength(2);
  });
});

group("what makes no sense is refused by name:", () => {
  const subnet = "10.1.2.0/24";
  const cases: [what: string, sets: object[][], names: string[]][] = [
    ["a subnet of two addresses", [[{ subnet: "10.1.2.0/31" }]], ["ranges[0][0].subnet", "10.1.2.0/31"]],
    ["a subnet of one IPv6 address", [[{ subnet: "2001:db8::/127" }]], ["2001:db8::/127"]],
    ["host bits", [[{ subnet: "10.1.2.1/24" }]], ["10.1.2.1/24", "10.1.2.0/24"]],
    ["IPv6 host bits", [[{ subnet: "2001:db8::1:0/64" }]], ["2001:db8::/64"]],
    ["a start outside", [[{ subnet, rangeStart: "10.1.3.1" }]], ["ranges[0][0].rangeStart", "10.1.3.1", subnet]],
    ["a start of the other family", [[{ subnet, rangeStart: "2001:db8::1" }]], ["rangeStart", "2001:db8::1"]],
    ["an end outside", [[{ subnet, rangeEnd: "10.1.1.9" }]], ["ranges[0][0].rangeEnd", "10.1.1.9"]],
    ["an end before the start", [[{ subnet, rangeStart: "10.1.2.9", rangeEnd: "10.1.2.8" }]], ["rangeEnd", "10.1.2.9"]],
    ["families mixed in a set", [[{ subnet }, { subnet: "2001:db8::/64" }]], ["ranges[0][1].subnet", "family"]],
    ["overlap in a set", [[{ subnet }, { subnet: "10.1.0.0/16" }]], ["ranges[0][1].subnet", "10.1.0.1-10.1.255.254"]],
    ["overlap between sets", [[{ subnet }], [{ subnet }]], ["ranges[1][0].subnet", "10.1.2.1-10.1.2.254"]],
    ["no exclusion at all", [[{ subnet, exclude: ["x"] }]], ["ranges[0][0].exclude[0]", '"x"']],
    ["an exclusion of the other family", [[{ subnet, exclude: ["::/0"] }]], ["exclude[0]", '"::/0"']],
    ["too many dashes", [[{ subnet, exclude: ["10.1.2.3-10.1.2.4-10.1.2.5"] }]], ["exclude[0]"]],
    ["an exclusion backwards", [[{ subnet, exclude: ["10.1.2.9-10.1.2.3"] }]], ["exclude[0]", "10.1.2.9-10.1.2.3"]],
    ["an exclusion elsewhere", [[{ subnet, exclude: ["10.1.2.3", "10.2.2.3"] }]], ["exclude[1]", "10.2.2.3"]],
    ["an exclusion with host bits", [[{ subnet, exclude: ["10.1.2.3/30"] }]], ["exclude[0]", "10.1.2.3/30"]],
    ["no subnet", [[{ rangeStart: "10.1.2.3" }]], ["subnet", "required"]],
  ];
  test.each(cases)("%s", (_, sets, names) => {
    const message = refusal(...sets);
    for (const name of names) expect(message).toContain(name);
  });
});

test("a requested address may carry a prefix length", () => {
  expect(requestedAddress.read("10.1.2.3", "ip", {})).toBe(number("10.1.2.3"));
  expect(requestedAddress.read("10.1.2.3/24", "ip", {})).toBe(number("10.1.2.3"));
  expect(requestedAddress.read("2001:DB8::3/64", "ip", {})).toBe(number("2001:db8::3"));
  for (const bad of ["", "10.1.2", "10.1.2.3/33", "10.1.2.3/", 5]) {
    expect(() => requestedAddress.read(bad, "CNI_ARGS IP", {})).toThrow("CNI_ARGS IP");
  }
});
