import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { Type } from "../../../../lib/netlink/attr.ts";
import { bridgePort, kinds } from "../../../../lib/netlink/rtnl/kind.ts";
import * as link from "../../../../lib/netlink/rtnl/link.ts";
import {
  changeLink,
  createLink,
  deleteLink,
  deleteLinkGroup,
  dumpLinks,
  getLink,
  type LinkSpec,
  linkAttrs,
  readLink,
  setLink,
} from "../../../../lib/netlink/rtnl/link.ts";
import { bodyOf, hex, messageOf, rows, valuesOf, written } from "../../../helpers/bytes.ts";

const same = (message: Uint8Array, bytes: string) => expect(rows(message)).toEqual(rows(hex(bytes)));

// Each attribute as iproute2 6.1 sends it or the kernel answers it.
const attributes: [name: keyof LinkSpec, value: unknown, bytes: string][] = [
  ["mac", "02:00:00:00:00:01", "0a 00 01 00 02 00 00 00 00 01 00 00"],
  ["broadcast", "ff:ff:ff:ff:ff:ff", "0a 00 02 00 ff ff ff ff ff ff 00 00"],
  ["name", "vethA", '0a 00 03 00 "vethA" 00 00 00'],
  ["mtu", 1400, "08 00 04 00 78 05 00 00"],
  ["link", 2, "08 00 05 00 02 00 00 00"],
  ["master", 2, "08 00 0a 00 02 00 00 00"],
  ["txQueueLength", 500, "08 00 0d 00 f4 01 00 00"],
  ["operState", 6, "05 00 10 00 06 00 00 00"],
  ["info", { kind: "veth" }, '10 00 12 80 09 00 01 00 "veth" 00 00 00 00'],
  ["alias", "net/cid/eth0", '11 00 14 00 "net/cid/eth0" 00 00 00 00'],
  ["group", 7, "08 00 1b 00 07 00 00 00"],
  ["netnsFd", 12, "08 00 1c 00 0c 00 00 00"],
  ["extMask", 9, "08 00 1d 00 09 00 00 00"],
  ["promiscuity", 1, "08 00 1e 00 01 00 00 00"],
  ["txQueues", 1, "08 00 1f 00 01 00 00 00"],
  ["rxQueues", 1, "08 00 20 00 01 00 00 00"],
  ["linkNetnsid", -1, "08 00 25 00 ff ff ff ff"],
];

test.each(attributes)("link %s %p", (name, value, bytes) => {
  same(written(linkAttrs, { [name]: value }), bytes);
  expect(linkAttrs.read(hex(bytes))).toEqual({ [name]: value });
});

test("every attribute of links has its bytes here", () => {
  expect(Object.keys(linkAttrs.fields).sort()).toEqual(attributes.map(([name]) => name).sort());
});

test("a veth pair: the peer is a whole link inside the first, its flags 0", () => {
  const peer = { name: "eth0", mac: "02:00:00:00:00:02", netnsFd: 9 };
  const info = { kind: "veth", data: { peer } };
  same(
    messageOf(createLink({ name: "vethA", master: 2, up: true, info })),
    `
    7c 00 00 00  length
    10 00 09 06  RTM_NEWLINK, REQUEST + ECHO + EXCL + CREATE
    07 00 00 00
    00 00 00 00
    00 00 00 00  family, type
    00 00 00 00  index
    01 00 00 00  flags: IFF_UP
    01 00 00 00  that may change: IFF_UP
    0a 00 03 00  IFLA_IFNAME
    "veth"
    "A" 00 00 00
    08 00 0a 00  IFLA_MASTER
    02 00 00 00
    48 00 12 80  IFLA_LINKINFO
    09 00 01 00  IFLA_INFO_KIND
    "veth"
    00 00 00 00
    38 00 02 80  IFLA_INFO_DATA
    34 00 01 00  VETH_INFO_PEER: a structure first, so it is no nest
    00 00 00 00  struct ifinfomsg
    00 00 00 00
    00 00 00 00
    00 00 00 00
    09 00 03 00  IFLA_IFNAME
    "eth0"
    00 00 00 00
    0a 00 01 00  IFLA_ADDRESS
    02 00 00 00
    00 02 00 00
    08 00 1c 00  IFLA_NET_NS_FD
    09 00 00 00
    `,
  );
});

test("a vxlan link has its settings in IFLA_INFO_DATA", () => {
  const info = { kind: "vxlan", data: { id: 42, port: 8472 } };
  same(
    bodyOf(createLink({ name: "v0", info })),
    `
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    07 00 03 00 "v0" 00 00
    24 00 12 80  IFLA_LINKINFO
    0a 00 01 00 "vxlan" 00 00 00
    14 00 02 80  IFLA_INFO_DATA
    08 00 01 00 2a 00 00 00
    06 00 0f 00 21 18 00 00
    `,
  );
});

test("the settings of a bridge's port say that the master is a bridge", () => {
  same(
    bodyOf(changeLink({ index: 4, info: { port: { hairpin: true, isolated: true } } })),
    `
    00 00 00 00
    04 00 00 00  index
    00 00 00 00
    00 00 00 00
    24 00 12 80  IFLA_LINKINFO
    0b 00 04 00 "bridge" 00 00  IFLA_INFO_SLAVE_KIND
    14 00 05 80  IFLA_INFO_SLAVE_DATA
    05 00 04 00 01 00 00 00
    05 00 21 00 01 00 00 00
    `,
  );
});

test.each([
  [{ index: 4 }, "00 00 00 00 00 00 00 00"],
  [{ index: 4, up: true }, "01 00 00 00 01 00 00 00"],
  [{ index: 4, up: false }, "00 00 00 00 01 00 00 00"],
  [{ index: 4, flags: 0x100, change: 0x100 }, "00 01 00 00 00 01 00 00"],
  [{ index: 4, up: true, flags: 0x100, change: 0x100 }, "01 01 00 00 01 01 00 00"],
  [{ index: 4, change: 0x100 }, "00 00 00 00 00 01 00 00"],
])("changing link %j sends flags and mask %s", (spec, bytes) => {
  expect(rows(bodyOf(changeLink(spec)).subarray(8, 16))).toEqual(rows(hex(bytes)));
});

test("the type and flags of each message are as iproute2 sends them", () => {
  const head = (message: Parameters<typeof messageOf>[0]) => rows(messageOf(message).subarray(4, 8))[0];
  expect(head(createLink({ name: "a" }))).toBe("10 00 09 06"); // with NLM_F_ECHO, which tells of the new link
  expect(head(changeLink({ name: "a" }))).toBe("10 00 01 00");
  expect(head(setLink({ name: "a" }))).toBe("13 00 01 00");
  expect(head(deleteLink({ name: "a" }))).toBe("11 00 01 00");
  expect(head(getLink({ name: "a" }))).toBe("12 00 01 00");
  expect(head(dumpLinks())).toBe("12 00 01 00"); // NLM_F_DUMP is added on the way
});

test("asking for a link sends its name and that no counters are wanted", () => {
  same(
    bodyOf(getLink({ name: "br0" })),
    '00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 08 00 03 00 "br0" 00 08 00 1d 00 08 00 00 00',
  );
  same(bodyOf(getLink({ index: 2 })), "00 00 00 00 02 00 00 00 00 00 00 00 00 00 00 00 08 00 1d 00 08 00 00 00");
});

// Strict checking (Linux 4.20) refuses a dump with an index or flags in its header, and any other attribute.
test("a dump of links filters by master and kind, with a header of zeros", () => {
  same(
    bodyOf(dumpLinks({ master: 2, kind: "veth" })),
    `
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    08 00 0a 00 02 00 00 00
    10 00 12 80 09 00 01 00 "veth" 00 00 00 00
    08 00 1d 00 08 00 00 00
    `,
  );
});

test("deleting sends what names the link and nothing else", () => {
  const spec: LinkSpec = { index: 4, name: "vethA", group: 7, up: true };
  same(bodyOf(deleteLink(spec)), '00 00 00 00 04 00 00 00 00 00 00 00 00 00 00 00 0a 00 03 00 "vethA" 00 00 00');
  same(bodyOf(deleteLinkGroup(7)), "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 08 00 1b 00 07 00 00 00");
});

test.each([
  ["change", changeLink],
  ["set", setLink],
  ["delete", deleteLink],
] as const)(
  "to %s a link without name and index is a TypeError: the kernel would take its whole group",
  (verb, make) => {
    for (const spec of [{}, { group: 7 }, { name: "" }, { index: 0 }, { name: undefined, up: false }]) {
      expect(() => make(spec)).toThrow(new TypeError(`Cannot ${verb} a link: neither its name nor its index is given`));
    }
  },
);

test.each([0, -1, Number.NaN])("link group %d cannot be deleted", (group) => {
  expect(() => deleteLinkGroup(group)).toThrow(RangeError);
});

test("unknown names are a TypeError, in the link, its info, its settings, its peer and its port", () => {
  const wrong: [LinkSpec, string][] = [
    [{ mtv: 1 } as LinkSpec, '"mtv"'],
    [{ info: { king: "veth" } as any }, '"king"'],
    [{ info: { kind: "vxlan", data: { vni: 1 } } }, '"vni"'],
    [{ info: { kind: "veth", data: { peer: { nam: "x" } } } }, '"nam"'],
    [{ info: { port: { hairpins: true } as any } }, '"hairpins"'],
    [{ info: { kind: "dummy", data: {} } }, '"dummy"'],
  ];
  for (const [spec, name] of wrong) {
    expect(() => bodyOf(createLink(spec))).toThrow(TypeError);
    expect(() => bodyOf(createLink(spec))).toThrow(name);
  }
});

test("what the kernel says of a port of a bridge (Linux 6.18, cut)", () => {
  const payload = hex(`
    00 00 01 00  family, ARPHRD_ETHER
    04 00 00 00  index
    43 10 01 00  IFF_UP, BROADCAST, RUNNING, MULTICAST, LOWER_UP
    00 00 00 00
    0a 00 03 00 "vethA" 00 00 00
    08 00 0d 00 e8 03 00 00  IFLA_TXQLEN
    05 00 10 00 06 00 00 00  IFLA_OPERSTATE
    05 00 43 00 00 00 00 00  netns-immutable, which no table here knows
    08 00 04 00 dc 05 00 00  IFLA_MTU
    08 00 0a 00 02 00 00 00  IFLA_MASTER
    0a 00 01 00 02 00 00 00 00 01 00 00
    0a 00 02 00 ff ff ff ff ff ff 00 00
    50 00 12 00  IFLA_LINKINFO, not marked as a nest
    09 00 01 00 "veth" 00 00 00 00
    0b 00 04 00 "bridge" 00 00
    34 00 05 00  IFLA_INFO_SLAVE_DATA
    05 00 01 00 03 00 00 00  state
    06 00 02 00 20 00 00 00  priority
    05 00 04 00 01 00 00 00  hairpin
    05 00 08 00 01 00 00 00  learning
    05 00 09 00 01 00 00 00  unicast flood
    05 00 21 00 01 00 00 00  isolated
    08 00 05 00 03 00 00 00  IFLA_LINK: the peer
    04 00 3e 80  an empty nest
  `);
  expect(readLink({ payload })).toEqual({
    hardware: 1,
    index: 4,
    flags: 0x11043,
    name: "vethA",
    txQueueLength: 1000,
    operState: link.IF_OPER_UP,
    mtu: 1500,
    master: 2,
    mac: "02:00:00:00:00:01",
    broadcast: "ff:ff:ff:ff:ff:ff",
    info: {
      kind: "veth",
      port: { state: 3, hairpin: true, learning: true, unicastFlood: true, isolated: true },
    },
    link: 3,
  });
});

test("a port of another master than a bridge is not read as one of a bridge", () => {
  const info = hex(`
    09 00 01 00 "veth" 00 00 00 00
    09 00 04 00 "bond" 00 00 00 00
    0c 00 05 00 05 00 01 00 00 00 00 00
  `);
  expect(linkAttrs.read(hex(`28 00 12 00 ${rows(info).join(" ")}`))).toEqual({ info: { kind: "veth" } });
});

test("settings of a kind without a table are passed over", () => {
  const info = hex('09 00 01 00 "bond" 00 00 00 00 0c 00 02 00 05 00 01 00 00 00 00 00');
  expect(linkAttrs.read(hex(`1c 00 12 00 ${rows(info).join(" ")}`))).toEqual({ info: { kind: "bond" } });
});

test("an address that is no Ethernet address is told all the same", () => {
  expect(linkAttrs.read(hex("08 00 01 00 0a 00 00 01"))).toEqual({ mac: "0a:00:00:01" }); // a tunnel's
});

test("less than a header is a RangeError", () => {
  for (const length of [0, 15]) expect(() => readLink({ payload: new Uint8Array(length) })).toThrow(RangeError);
});

describe("generated", () => {
  const infos = fc.oneof(
    ...Object.entries(kinds).map(([kind, table]) => valuesOf(table).map((data) => ({ kind, data }))),
    valuesOf(bridgePort).map((port) => ({ kind: "veth", port })),
    fc.constant({ kind: "veth" }),
  );
  const others = new Map<Type<any>, fc.Arbitrary<unknown>>([[linkAttrs.fields.info[1], infos]]);

  test("links survive the wire", () => {
    fc.assert(
      fc.property(valuesOf(linkAttrs, others), fc.nat(), fc.boolean(), (values, index, up) => {
        const read = readLink({ payload: bodyOf(createLink({ ...values, index, up })) });
        expect(read).toEqual({ ...values, index, flags: up ? 1 : 0, hardware: 0 } as any);
      }),
    );
  });
});
