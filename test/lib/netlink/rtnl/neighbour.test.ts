import { expect, test } from "bun:test";
import {
  deleteForwarding,
  deleteNeighbour,
  dumpForwarding,
  dumpNeighbours,
  readForwarding,
  readNeighbour,
  replaceForwarding,
  replaceNeighbour,
} from "../../../../lib/netlink/rtnl/neighbour.ts";
import { bodyOf, hex, messageOf, rows } from "../../../helpers/bytes.ts";
import { onNode } from "../../../helpers/namespace.ts";

const same = (message: Uint8Array, bytes: string) => expect(rows(message)).toEqual(rows(hex(bytes)));
const mac = "02:00:00:00:00:09";

test("ip neigh replace 10.1.2.0 lladdr 02:00:00:00:00:09 dev 7 nud permanent", () => {
  same(
    messageOf(replaceNeighbour({ index: 7, ip: "10.1.2.0", mac })),
    `
    30 00 00 00
    1c 00 01 05  RTM_NEWNEIGH, REQUEST + REPLACE + CREATE
    07 00 00 00
    00 00 00 00
    02 00 00 00  AF_INET
    07 00 00 00
    80 00 00 00  NUD_PERMANENT, no flags
    08 00 01 00 0a 01 02 00  NDA_DST
    0a 00 02 00 02 00 00 00 00 09 00 00  NDA_LLADDR
    `,
  );
});

test("ip neigh del fd00:2:: dev 7", () => {
  same(
    messageOf(deleteNeighbour({ index: 7, ip: "fd00:2::" })),
    `
    30 00 00 00
    1d 00 01 00  RTM_DELNEIGH
    07 00 00 00
    00 00 00 00
    0a 00 00 00  AF_INET6
    07 00 00 00
    00 00 00 00
    14 00 01 00 fd 00 00 02 00 00 00 00 00 00 00 00 00 00 00 00  NDA_DST
    `,
  );
});

test("bridge fdb replace 02:00:00:00:00:09 dev 7 dst 192.0.2.2 self permanent", () => {
  same(
    messageOf(replaceForwarding({ index: 7, mac, ip: "192.0.2.2" })),
    `
    30 00 00 00
    1c 00 01 05  RTM_NEWNEIGH, REQUEST + REPLACE + CREATE
    07 00 00 00
    00 00 00 00
    07 00 00 00  AF_BRIDGE
    07 00 00 00
    80 00 02 00  NUD_PERMANENT, NTF_SELF
    08 00 01 00 c0 00 02 02  NDA_DST
    0a 00 02 00 02 00 00 00 00 09 00 00  NDA_LLADDR
    `,
  );
});

test("bridge fdb del 02:00:00:00:00:09 dev 7 self, and the port and VNI of an entry", () => {
  const head = "07 00 00 00 07 00 00 00 00 00 02 00";
  same(bodyOf(deleteForwarding({ index: 7, mac })), `${head} 0a 00 02 00 02 00 00 00 00 09 00 00`);
  const entry = { index: 7, mac, ip: "192.0.2.2", port: 4789, vni: 5, state: 0x80, flags: 2 };
  const bytes = bodyOf(replaceForwarding(entry));
  same(
    bytes,
    `07 00 00 00 07 00 00 00 80 00 02 00 08 00 01 00 c0 00 02 02 0a 00 02 00 02 00 00 00 00 09 00 00
     06 00 06 00 12 b5 00 00
     08 00 07 00 05 00 00 00`,
  );
  expect(readForwarding({ payload: bytes })).toEqual(entry);
});

test("dumps ask for one link: by attribute for neighbours, in the header for forwarding entries", () => {
  same(bodyOf(dumpNeighbours(10, 7)), "0a 00 00 00 00 00 00 00 00 00 00 00 08 00 08 00 07 00 00 00");
  same(bodyOf(dumpForwarding(7)), "07 00 00 00 07 00 00 00 00 00 00 00");
});

test("what is no address or too short is refused", () => {
  expect(() => bodyOf(replaceNeighbour({ index: 7, ip: "node", mac }))).toThrow('Cannot write neighbour "node"');
  expect(() => readNeighbour({ payload: new Uint8Array(8) })).toThrow(RangeError);
  expect(() => readForwarding({ payload: new Uint8Array(8) })).toThrow(RangeError);
});

test("the kernel keeps entries of a vxlan device, lists them, replaces them and lets them go", async () => {
  await onNode(async ({ node, ns, ip }) => {
    const made = async (name: string, vni: string) => {
      await node.exec("ip", ["link", "add", name, "up", "type", "vxlan", "id", vni, "dstport", "4789", "nolearning"]);
      return (await ip("link", "show", name))[0].ifindex as number;
    };
    const index = await made("one", "1");
    const other = await made("two", "2");
    ns.route.request(
      replaceNeighbour({ index, ip: "10.1.2.0", mac }),
      replaceNeighbour({ index, ip: "fd00:2::", mac }),
      replaceNeighbour({ index: other, ip: "10.1.3.0", mac }),
      replaceForwarding({ index, mac, ip: "192.0.2.2" }),
      replaceForwarding({ index, mac, ip: "192.0.2.3" }),
      replaceForwarding({ index: other, mac, ip: "192.0.2.4" }),
    );
    const neighbours = ns.route.dump(dumpNeighbours(2, index)).map(readNeighbour);
    expect(neighbours).toEqual([{ index, ip: "10.1.2.0", mac, state: 0x80, flags: 0 }]);
    expect(ns.route.dump(dumpNeighbours(10, index)).map(readNeighbour)).toContainEqual({
      index,
      ip: "fd00:2::",
      mac,
      state: 0x80,
      flags: 0,
    });
    const entries = ns.route.dump(dumpForwarding(index)).map(readForwarding);
    expect(entries).toEqual([{ index, mac, ip: "192.0.2.3", state: 0x80, flags: 2 }]);
    ns.route.request(deleteForwarding({ index, mac, ip: "192.0.2.2" })); // of another's: nothing happens
    expect(ns.route.dump(dumpForwarding(index)).length).toBe(1);
    ns.route.request(
      deleteNeighbour({ index, ip: "10.1.2.0" }),
      deleteNeighbour({ index, ip: "fd00:2::" }),
      deleteForwarding({ index, mac }),
    );
    expect(ns.route.dump(dumpNeighbours(2, index))).toEqual([]);
    expect(ns.route.dump(dumpForwarding(index))).toEqual([]);
    const [gone] = ns.route.try(deleteNeighbour({ index, ip: "10.1.2.0" }));
    expect(gone!.error?.code).toBe("ENOENT");
  });
});
