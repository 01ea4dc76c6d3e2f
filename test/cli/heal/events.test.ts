import { expect, test } from "bun:test";
import { type Event, readRouteEvents, Transactions } from "../../../cli/heal/events.ts";
import { createAddress } from "../../../lib/netlink/rtnl/address.ts";
import { changeLink } from "../../../lib/netlink/rtnl/link.ts";
import { createRoute } from "../../../lib/netlink/rtnl/route.ts";
import { createElements } from "../../../lib/nftables/element.ts";
import { deleteTable } from "../../../lib/nftables/table.ts";
import { bodyOf, hex } from "../../helpers/bytes.ts";
import { datagram, say } from "../../helpers/transport.ts";

const of = (type: number, payload: Uint8Array) => readRouteEvents(say(type, 0, payload));

test("links: changed, gone, and no port any more", () => {
  const body = bodyOf(changeLink({ index: 7, name: "v0", up: true, mtu: 1400 }));
  const link: Event = { of: "link", gone: false, index: 7, name: "v0", up: true, mtu: 1400, left: false };
  expect(of(16, body)).toEqual([link]);
  expect(of(17, body)).toEqual([{ ...link, gone: true }]);
  body[0] = 7; // AF_BRIDGE
  expect(of(17, body)).toEqual([{ ...link, left: true }]);
});

test("addresses and routes that went, or came", () => {
  const address = bodyOf(createAddress({ index: 3, ip: "10.0.0.1", prefix: 24 }));
  const route = bodyOf(createRoute({ destination: "10.1.0.0/16", gateway: "10.0.0.9", protocol: 116 }));
  expect(of(20, address)).toEqual([{ of: "address", gone: false, index: 3, ip: "10.0.0.1" }]);
  expect(of(21, address)).toEqual([{ of: "address", gone: true, index: 3, ip: "10.0.0.1" }]);
  for (const [type, gone] of [
    [24, false],
    [25, true],
  ] as const)
    expect(of(type, route)).toEqual([{ of: "route", gone, destination: "10.1.0.0/16", protocol: 116 }]);
});

test("neighbours by their address, shaping by its link; the rest is passed over, several at once are told in order", () => {
  const neighbor = hex(`02 00 00 00  AF_INET
    05 00 00 00  link 5
    80 00 00 01  permanent
    08 00 01 00  NDA_DST
    0a 00 00 07  10.0.0.7`);
  const queue = hex(`00 00 00 00  AF_UNSPEC
    06 00 00 00  link 6
    00 00 00 00 ff ff ff ff 00 00 00 00`);
  expect(of(28, neighbor)).toEqual([]);
  expect(readRouteEvents(datagram(say(29, 0, neighbor), say(99, 0, queue), say(37, 0, queue)))).toEqual([
    { of: "neighbor", index: 5, ip: "10.0.0.7" },
    { of: "shaping", index: 6 },
  ]);
});

const table = { family: "inet", name: "tenon" } as const;
const elements = (...comments: (string | undefined)[]) =>
  bodyOf(
    createElements(
      { table, name: "s" },
      comments.map((comment, at) => ({ key: Uint8Array.of(10, 0, 0, at), comment })),
    ),
  );
const generation = hex(`00 00 00 01  AF_UNSPEC
  08 00 01 00 00 00 00 09  generation 9
  08 00 02 00 00 00 04 d2  process 1234
  08 00 03 00 "nft" 00  its name`);
const type = (kind: number) => (10 << 8) | kind;

test("a transaction is told with its generation: labels of elements, or that there is more", () => {
  const transactions = new Transactions();
  const by = { of: "nftables", pid: 1234, program: "nft" } as const;
  expect(transactions.read(say(type(14), 0, elements("a/b/c", "d/e/f")))).toEqual([]);
  expect(transactions.read(say(type(15), 0, generation))).toEqual([
    { ...by, structure: false, labels: ["a/b/c", "d/e/f"] },
  ]);
  const nameless = datagram(say(type(14), 0, elements(undefined)), say(type(15), 0, generation));
  expect(transactions.read(nameless)).toEqual([{ ...by, structure: true, labels: [] }]);
  const whole = datagram(say(type(2), 0, bodyOf(deleteTable(table))), say(type(15), 0, generation));
  expect(transactions.read(whole)).toEqual([{ ...by, structure: true, labels: [] }]);
});

test("what is added, and what is of others' tables, is no event", () => {
  const others = bodyOf(deleteTable({ family: "ip", name: "nat" }));
  const messages = datagram(say(type(2), 0, others), say(type(12), 0, elements("a/b/c")), say(type(15), 0, generation));
  expect(new Transactions().read(messages)).toEqual([]);
});
