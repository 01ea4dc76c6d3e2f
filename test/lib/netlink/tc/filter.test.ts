import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  createFilter,
  deleteFilters,
  dumpFilters,
  ETH_P_ALL,
  ETH_P_IP,
  ETH_P_IPV6,
  type Filter,
  readFilter,
} from "../../../../lib/netlink/tc/filter.ts";
import { handle, TC_H_MIN_INGRESS } from "../../../../lib/netlink/tc/message.ts";
import { bodyOf, hex, messageOf, rows } from "../../../helpers/bytes.ts";

const same = (bytes: Uint8Array, wanted: string) => expect(rows(bytes)).toEqual(rows(hex(wanted)));
const ingress = { link: 3, parent: TC_H_MIN_INGRESS };

// iproute2 6.1 sends the same, but for the order of class, actions and keys, and the marks of nests.
test("tc filter add dev vethA ingress pref 65522 protocol all u32 match u32 0 0 action mirred egress redirect dev ifb7", () => {
  const options = { actions: [{ kind: "mirred", redirect: 4 }], keys: [{ mask: 0, value: 0, offset: 0 }] };
  same(
    messageOf(createFilter({ ...ingress, priority: 65522, protocol: ETH_P_ALL, kind: "u32", options })),
    `
    8c 00 00 00
    2c 00 01 06  RTM_NEWTFILTER; NLM_F_REQUEST, NLM_F_EXCL, NLM_F_CREATE
    07 00 00 00 00 00 00 00
    00 00 00 00 03 00 00 00 00 00 00 00 f2 ff ff ff
    00 03 f2 ff  protocol in network order, priority
    08 00 01 00 "u32" 00
    60 00 02 80
    38 00 07 80  TCA_U32_ACT
    34 00 01 80  the first
    0b 00 01 00 "mirred" 00 00
    24 00 02 80
    20 00 02 00  TCA_MIRRED_PARMS
    00 00 00 00 00 00 00 00
    04 00 00 00  TC_ACT_STOLEN
    00 00 00 00 00 00 00 00
    01 00 00 00  TCA_EGRESS_REDIR
    04 00 00 00  link
    24 00 05 00  TCA_U32_SEL
    01 00 01 00  TC_U32_TERMINAL; one key
    00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    `,
  );
});

test("tc filter add dev vethA ingress pref 65519 protocol ip u32 match ip dst 10.2.0.0/16 flowid ffff:1", () => {
  const options = { class: handle(0xffff, 1), keys: [{ mask: 0xffff0000, value: 0x0a020000, offset: 16 }] };
  same(
    bodyOf(createFilter({ ...ingress, priority: 65519, protocol: ETH_P_IP, kind: "u32", options })),
    `
    00 00 00 00 03 00 00 00 00 00 00 00 f2 ff ff ff
    08 00 ef ff
    08 00 01 00 "u32" 00
    30 00 02 80
    08 00 01 00 01 00 ff ff  TCA_U32_CLASSID
    24 00 05 00
    01 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00
    ff ff 00 00 0a 02 00 00 10 00 00 00 00 00 00 00  mask and value in network order
    `,
  );
});

test("the keys of match ip6 dst fd00:1::/64", () => {
  const keys = [
    { mask: 0xffffffff, value: 0xfd000001, offset: 24 },
    { mask: 0xffffffff, value: 0, offset: 28 },
  ];
  same(
    bodyOf(
      createFilter({ ...ingress, priority: 65521, protocol: ETH_P_IPV6, kind: "u32", options: { keys } }),
    ).subarray(32),
    `
    34 00 05 00
    01 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00
    ff ff ff ff fd 00 00 01 18 00 00 00 00 00 00 00
    ff ff ff ff 00 00 00 00 1c 00 00 00 00 00 00 00
    `,
  );
});

test("tc filter del dev vethA ingress pref 65520 protocol ip", () => {
  const message = deleteFilters({ ...ingress, priority: 65520, protocol: ETH_P_IP });
  expect(message).toMatchObject({ type: 45, flags: 0 });
  same(bodyOf(message), "00 00 00 00 03 00 00 00 00 00 00 00 f2 ff ff ff 08 00 f0 ff");
});

test("tc filter show dev vethA ingress", () => {
  expect(dumpFilters(ingress)).toMatchObject({ type: 46, flags: 0 });
  same(bodyOf(dumpFilters(ingress)), "00 00 00 00 03 00 00 00 00 00 00 00 f2 ff ff ff 00 00 00 00");
});

test("what the kernel says: a table of filters, then the filter with its action", () => {
  const table = hex(`
    00 00 00 00 03 00 00 00 00 00 00 80 f2 ff ff ff 00 03 f2 ff
    08 00 01 00 "u32" 00
    08 00 0b 00 00 00 00 00  TCA_CHAIN
    0c 00 02 00
    08 00 04 00 01 00 00 00  TCA_U32_DIVISOR
  `);
  const common = { link: 3, parent: TC_H_MIN_INGRESS, priority: 65522, protocol: ETH_P_ALL, kind: "u32" };
  expect(readFilter({ payload: table })).toEqual({ ...common, handle: 0x80000000, options: { divisor: 1 } });
  const filter = hex(`
    00 00 00 00 03 00 00 00 00 08 00 80 f2 ff ff ff 00 03 f2 ff
    08 00 01 00 "u32" 00
    08 00 0b 00 00 00 00 00
    8c 00 02 00
    24 00 05 00 01 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    08 00 02 00 00 00 00 80  TCA_U32_HASH
    5c 00 07 00
    38 00 01 00
    0b 00 01 00 "mirred" 00 00
    08 00 0a 00 00 00 00 00  TCA_ACT_HW_STATS
    20 00 02 00
    1c 00 09 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  no parameters
    20 00 02 00  a second action
    09 00 01 00 "gact" 00 00 00 00
    10 00 02 00 0c 00 02 00 00 00 00 00 00 00 00 00
  `);
  expect(readFilter({ payload: filter })).toEqual({
    ...common,
    handle: 0x80000800,
    options: { keys: [{ mask: 0, value: 0, offset: 0 }], actions: [{ kind: "mirred" }, { kind: "gact" }] },
  });
});

test("filters of kinds without a table are read without settings", () => {
  const payload = hex(`
    00 00 00 00 03 00 00 00 01 00 00 00 f2 ff ff ff 00 03 01 00
    08 00 01 00 "bpf" 00 08 00 02 00 01 02 03 04
  `);
  expect(readFilter({ payload })).toMatchObject({ kind: "bpf", priority: 1, protocol: ETH_P_ALL });
  expect(readFilter({ payload }).options).toBeUndefined();
});

test("an action that is no redirection cannot be written, and keys cut short not be read", () => {
  const filter = (kind: string, redirect?: number): Filter => ({
    ...ingress,
    priority: 1,
    protocol: ETH_P_ALL,
    kind: "u32",
    options: { actions: [{ kind, redirect }] },
  });
  expect(() => bodyOf(createFilter(filter("gact")))).toThrow(TypeError);
  expect(() => bodyOf(createFilter(filter("mirred")))).toThrow(TypeError);
  const payload = hex(`
    00 00 00 00 03 00 00 00 00 00 00 00 f2 ff ff ff 00 03 01 00
    08 00 01 00 "u32" 00 18 00 02 00 14 00 05 00 01 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00
  `);
  expect(() => readFilter({ payload })).toThrow(RangeError);
});

test("filters survive the wire", () => {
  const whole = fc.integer({ min: 0, max: 0xffffffff });
  const key = fc.record({ mask: whole, value: whole, offset: fc.integer({ min: -64, max: 64 }) });
  const action = fc.record({ kind: fc.constant("mirred"), redirect: fc.integer({ min: 1, max: 0x7fffffff }) });
  const options = fc.record({
    class: whole,
    keys: fc.array(key, { maxLength: 8 }),
    actions: fc.array(action, { minLength: 1, maxLength: 3 }),
  });
  const half = fc.integer({ min: 0, max: 0xffff });
  fc.assert(
    fc.property(half, half, whole, options, (priority, protocol, at, options) => {
      const filter = { link: 3, handle: at, parent: TC_H_MIN_INGRESS, priority, protocol, kind: "u32", options };
      expect(readFilter({ payload: bodyOf(createFilter(filter)) })).toEqual(filter);
    }),
  );
});
