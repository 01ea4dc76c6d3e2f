import { expect, test } from "bun:test";
import { createRule, deleteRule, dumpRules, type Rule, readRule } from "../../../../lib/netlink/rtnl/rule.ts";
import { bodyOf, hex, messageOf, rows } from "../../../helpers/bytes.ts";
import { onNode } from "../../../helpers/namespace.ts";

const same = (message: Uint8Array, bytes: string) => expect(rows(message)).toEqual(rows(hex(bytes)));

test("ip rule add from 10.1.0.0/16 lookup 1000 priority 50 protocol 116", () => {
  same(
    messageOf(createRule({ family: 2, from: "10.1.0.0/16", table: 1000, priority: 50, protocol: 116 })),
    `
    3c 00 00 00
    20 00 01 06  RTM_NEWRULE, REQUEST + EXCL + CREATE
    07 00 00 00
    00 00 00 00
    02 00 10 00  AF_INET, from /16
    00 00 00 01  the table is over 255; FR_ACT_TO_TBL
    00 00 00 00
    08 00 02 00 0a 01 00 00  FRA_SRC
    08 00 06 00 32 00 00 00  FRA_PRIORITY
    08 00 0f 00 e8 03 00 00  FRA_TABLE
    05 00 15 00 74 00 00 00  FRA_PROTOCOL
    `,
  );
});

const fields: [change: Partial<Rule>, header: string, attributes: string][] = [
  [{ to: "10.2.3.0/24" }, "02 18 00 00 64 00 00 01", "08 00 01 00 0a 02 03 00"],
  [{ iif: "eth0" }, "02 00 00 00 64 00 00 01", '09 00 03 00 "eth0" 00 00 00 00'],
  [{ mark: 0x74, mask: 0xff }, "02 00 00 00 64 00 00 01", "08 00 0a 00 74 00 00 00"],
  [{ from: "0.0.0.0/0" }, "02 00 00 00 64 00 00 01", ""],
];
test.each(fields)("rule %p", (change, header, attributes) => {
  const tail = change.mask === undefined ? "" : "08 00 10 00 ff 00 00 00";
  same(
    bodyOf(createRule({ family: 2, table: 100, ...change })),
    [header, "00 00 00 00", attributes, "08 00 0f 00 64 00 00 00", tail].filter((part) => part !== "").join(" "),
  );
});

test("what is no network of the family, or too short, is refused", () => {
  expect(() => bodyOf(createRule({ family: 2, from: "fd00::/64", table: 1 }))).toThrow('"fd00::/64"');
  expect(() => bodyOf(createRule({ family: 10, to: "pods", table: 1 }))).toThrow('"pods"');
  expect(() => readRule({ payload: new Uint8Array(4) })).toThrow(RangeError);
});

test("the kernel keeps rules, tells of them, and lets go of those that are named", async () => {
  await onNode(async ({ ns }) => {
    const rules: Rule[] = [
      { family: 2, from: "10.1.0.0/16", to: "192.0.2.0/24", table: 70000, priority: 50, protocol: 116 },
      { family: 2, iif: "lo", mark: 0x10, mask: 0xf0, table: 100, priority: 51, protocol: 116 },
      { family: 10, from: "fd00:1::/64", table: 70000, priority: 50, protocol: 116 },
    ];
    ns.route.request(...rules.map(createRule));
    const listed = () =>
      ([2, 10] as const).flatMap((family) =>
        ns.route
          .dump(dumpRules(family))
          .map(readRule)
          .filter(({ protocol }) => protocol === 116),
      );
    expect(listed()).toEqual(rules.map((rule) => ({ ...rule, action: 1 })));
    expect(ns.route.try(createRule(rules[0]!))[0]!.error?.code).toBe("EEXIST");
    ns.route.request(...rules.map(deleteRule));
    expect(listed()).toEqual([]);
    expect(ns.route.try(deleteRule(rules[0]!))[0]!.error?.code).toBe("ENOENT");
  });
});
