// What the tables write, given to a real kernel and read back; each test in a namespace of its own.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { Writer } from "../../../lib/netlink/attr.ts";
import * as address from "../../../lib/netlink/rtnl/address.ts";
import * as link from "../../../lib/netlink/rtnl/link.ts";
import { type LinkSpec, readLink } from "../../../lib/netlink/rtnl/link.ts";
import * as route from "../../../lib/netlink/rtnl/route.ts";
import { type Connection, NLM_F_ACK, openSocket, writeMessage } from "../../../lib/netlink/socket.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Netns, type Node } from "../../helpers/node.ts";

let node: Node;
let pod: Netns;
let ns: Namespace;
let other: Namespace;
let kernel: Connection;
let count = 0;

const open = (name: string) => openNamespace(node.path(`/run/netns/${name}`));

beforeAll(async () => {
  node = await makeNode("kernel");
});

beforeEach(async () => {
  ns?.close();
  other?.close();
  count++;
  pod = await node.netns(`a${count}`);
  await node.netns(`b${count}`);
  ns = open(`a${count}`);
  other = open(`b${count}`);
  kernel = ns.route;
});

afterAll(() => node.close());

const find = (name: string) => readLink(kernel.request(link.getLink({ name }))[0]!.answers[0]!);
const create = (spec: LinkSpec) => kernel.request(link.createLink(spec))[0]!;

test("a veth pair is made with one end in another namespace; the echo tells of both", () => {
  const peer = { name: "eth0", mac: "02:00:00:00:00:02", mtu: 1400, netnsFd: other.fd };
  const reply = create({
    name: "v0",
    mac: "02:00:00:00:00:01",
    mtu: 1400,
    up: true,
    info: { kind: "veth", data: { peer } },
  });
  const echoed = readLink(reply.answers[0]!);
  expect(echoed).toMatchObject({ name: "v0", mac: "02:00:00:00:00:01", mtu: 1400, info: { kind: "veth" } });
  expect(echoed.flags & link.IFF_UP).toBe(link.IFF_UP);
  const theirs = readLink(other.route.request(link.getLink({ name: "eth0" }))[0]!.answers[0]!);
  expect(theirs).toMatchObject({ index: echoed.link!, mac: "02:00:00:00:00:02", mtu: 1400 });
  expect(theirs.flags & link.IFF_UP).toBe(0);
});

test.each<LinkSpec>([
  { info: { kind: "bridge", data: { ageingTime: 1000, stpState: 0, groupFwdMask: 8, multicastSnooping: false } } },
  {
    info: {
      kind: "vxlan",
      data: { id: 42, local: "10.0.0.1", group: "239.1.1.1", ttl: 5, learning: false, port: 8472, udpChecksum: true },
    },
  },
  { info: { kind: "vxlan", data: { id: 43, local6: "fd00::1", port: 4789, learning: true } } },
])("the kernel tells the settings of $info.kind again", (spec) => {
  if (spec.info!.data!.group) create({ name: "under", info: { kind: "bridge" } });
  const data = { ...spec.info!.data, ...(spec.info!.data!.group ? { link: find("under").index } : {}) };
  create({ name: "x", info: { kind: spec.info!.kind, data } });
  expect(find("x").info).toMatchObject({ kind: spec.info!.kind, data });
});

test("the kernel tells the settings of macvlan again", () => {
  create({ name: "under", info: { kind: "bridge" } });
  create({ name: "m", link: find("under").index, info: { kind: "macvlan", data: { mode: 4 } } });
  expect(find("m")).toMatchObject({ link: find("under").index, info: { kind: "macvlan", data: { mode: 4 } } });
});

test("a link takes name, MTU, queue length, alias, group and master", async () => {
  create({ name: "br0", info: { kind: "bridge" } });
  create({ name: "v0", info: { kind: "veth", data: { peer: { name: "v1" } } } });
  const { index } = find("v0");
  kernel.request(
    link.changeLink({ index, mtu: 1300, txQueueLength: 7, group: 5, master: find("br0").index, up: true }),
    link.setLink({ index, alias: "net/cid/eth0" }),
    link.changeLink({ index, info: { port: { hairpin: true, isolated: true, learning: false } } }),
  );
  expect(find("v0")).toMatchObject({
    ...{ mtu: 1300, txQueueLength: 7, group: 5, master: find("br0").index, alias: "net/cid/eth0" },
    info: { kind: "veth", port: { hairpin: true, isolated: true, learning: false, unicastFlood: true } },
  });
  expect(JSON.parse((await pod.exec("ip", ["-j", "-d", "link", "show", "v0"])).stdout)[0]).toMatchObject({
    ifalias: "net/cid/eth0",
    linkinfo: { info_slave_kind: "bridge", info_slave_data: { hairpin: true, isolated: true, learning: false } },
  });
});

test("dumps are filtered by the kernel", () => {
  create({ name: "br0", info: { kind: "bridge" } });
  create({ name: "v0", master: find("br0").index, info: { kind: "veth", data: { peer: { name: "v1" } } } });
  const names = (filter: Parameters<typeof link.dumpLinks>[0]) =>
    kernel
      .dump(link.dumpLinks(filter))
      .map((one) => readLink(one).name)
      .sort();
  expect(names({})).toEqual(["br0", "lo", "v0", "v1"]);
  expect(names({ kind: "veth" })).toEqual(["v0", "v1"]);
  expect(names({ master: find("br0").index })).toEqual(["v0"]);
});

test("links are deleted by name, by index and by group", () => {
  for (const name of ["d0", "d1", "d2", "d3"]) create({ name, info: { kind: "bridge" } });
  kernel.request(link.deleteLink({ name: "d0" }), link.deleteLink({ index: find("d1").index }));
  kernel.request(...["d2", "d3"].map((name) => link.changeLink({ name, group: 77 })));
  kernel.request(link.deleteLinkGroup(77));
  expect(kernel.dump(link.dumpLinks()).map((one) => readLink(one).name)).toEqual(["lo"]);
  expect(() => kernel.request(link.deleteLink({ name: "d0" }))).toThrow('Cannot delete link "d0": no such device');
});

test("the end of a link is told to those who listen", () => {
  create({ name: "d0", info: { kind: "bridge" } });
  const { index } = find("d0");
  const socket = ns.run(() => openSocket(0, { groups: link.RTMGRP_LINK, timeoutMs: 1000 }));
  const to = new Writer();
  writeMessage(to, link.deleteLink({ index }), 1, NLM_F_ACK);
  socket.send(to.done());
  for (let gone = false; !gone; ) {
    const bytes = socket.receive(true);
    gone = bytes[4] === link.LINK_GONE && readLink({ payload: bytes.subarray(16) }).index === index;
  }
  socket.close();
  expect(kernel.try(link.getLink({ index }))[0]!.error?.code).toBe("ENODEV");
});

test("addresses are added once, told again and deleted", () => {
  create({ name: "br0", up: true, info: { kind: "bridge" } });
  const { index } = find("br0");
  const four = { index, ip: "10.1.2.3", prefix: 24, broadcast: "10.1.2.255" };
  const six = { index, ip: "fd00::5", prefix: 64, flags: address.IFA_F_NODAD };
  const messages = [address.createAddress(four), address.createAddress(six)];
  kernel.request(...messages);
  expect(kernel.try(...messages).map(({ error }) => error?.code)).toEqual(["EEXIST", "EEXIST"]);
  kernel.request(...[four, six].map(address.replaceAddress));
  const told = () => kernel.dump(address.dumpAddresses(index)).map(address.readAddress);
  expect(told()).toContainEqual({ ...four, scope: 0, label: "br0", flags: address.IFA_F_PERMANENT });
  expect(told()).toContainEqual(
    expect.objectContaining({ ip: "fd00::5", prefix: 64, flags: address.IFA_F_PERMANENT | address.IFA_F_NODAD }),
  );
  kernel.request(address.deleteAddress(four), address.deleteAddress(six));
  expect(told().filter(({ scope }) => scope === 0)).toEqual([]);
  expect(kernel.try(address.deleteAddress(four))[0]!.error?.code).toBe("EADDRNOTAVAIL");
});

test("an empty namespace has no routes, also where it has no table yet", () => {
  for (const family of [2, 10] as const) {
    for (const table of [route.RT_TABLE_MAIN, 1000, 0]) {
      expect(kernel.dump(route.dumpRoutes(family, table)).flatMap(route.readRoutes)).toEqual([]);
    }
  }
});

test("routes are told again with all their fields", () => {
  create({ name: "br0", up: true, info: { kind: "bridge" } });
  const { index } = find("br0");
  kernel.request(
    address.createAddress({ index, ip: "10.1.2.3", prefix: 24 }),
    address.createAddress({ index, ip: "fd00::5", prefix: 64, flags: address.IFA_F_NODAD }),
  );
  const routes: route.Route[] = [
    { destination: "0.0.0.0/0", gateway: "10.1.2.1", link: index },
    { destination: "10.9.0.0/16", gateway: "10.1.2.1", priority: 50, mtu: 1300, advmss: 1200, protocol: 77 },
    { destination: "10.8.0.0/16", link: index, table: 1000, source: "10.1.2.3" },
    { destination: "2001:db8::/32", gateway: "fd00::1", link: index, mtu: 1300, priority: 7 },
    { destination: "::/0", gateway: "fd00::1", link: index },
  ];
  kernel.request(...routes.map(route.createRoute));
  const told = ([2, 10] as const).flatMap((family) =>
    kernel.dump(route.dumpRoutes(family, 0)).flatMap(route.readRoutes),
  );
  for (const wanted of routes) expect(told).toContainEqual(expect.objectContaining(wanted));
  expect(kernel.try(...routes.map(route.createRoute)).map(({ error }) => error?.code)).toEqual(
    Array(routes.length).fill("EEXIST"),
  );
  kernel.request(...routes.map(route.replaceRoute));
  kernel.request(...routes.map(route.deleteRoute));
  expect(() => kernel.request(route.deleteRoute(routes[0]!))).toThrow(
    "Cannot delete route to 0.0.0.0/0 by 10.1.2.1: no such process",
  );
});

test("routes appended to one destination are told as next hops of it", () => {
  create({ name: "br0", up: true, info: { kind: "bridge" } });
  const { index } = find("br0");
  kernel.request(address.createAddress({ index, ip: "fd00::5", prefix: 64, flags: address.IFA_F_NODAD }));
  const gateways = ["fd00::1", "fd00::2"];
  kernel.request(
    ...gateways.map((gateway) => route.appendRoute({ destination: "2001:db8::/32", gateway, link: index })),
  );
  const told = kernel.dump(route.dumpRoutes(10)).flatMap(route.readRoutes);
  const hops = told.filter(({ destination }) => destination === "2001:db8::/32");
  expect(hops.map(({ gateway, link }) => [gateway, link])).toEqual(gateways.map((gateway) => [gateway, index]));
});

test("the kernel's own words come with a refusal", () => {
  create({ name: "br0", up: true, info: { kind: "bridge" } });
  const unreachable = route.createRoute({ destination: "10.9.0.0/16", gateway: "10.99.0.1" });
  expect(() => kernel.request(unreachable)).toThrow(
    "Cannot add route to 10.9.0.0/16 by 10.99.0.1: network is unreachable (Nexthop has invalid gateway)",
  );
});

test("a batch of thousands is answered in full", () => {
  const replies = kernel.request(...Array.from({ length: 3000 }, () => link.changeLink({ name: "lo", up: true })));
  expect(replies).toHaveLength(3000);
  expect(find("lo").flags & link.IFF_UP).toBe(link.IFF_UP);
});
