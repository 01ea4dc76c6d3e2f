import { expect, test } from "bun:test";
import type { Attachment } from "../../../cli/heal/attachments.ts";
import type { Event } from "../../../cli/heal/events.ts";
import { Inventory } from "../../../cli/heal/inventory.ts";

const one = (id: string, last: number, bridge = "cni0"): Attachment => ({
  network: "pods",
  containerId: id,
  ifname: "eth0",
  label: `pods/${id}/eth0`,
  hostName: `tn${id}`,
  args: "",
  steps: [],
  result: {
    interfaces: [{ name: bridge }, { name: `tn${id}` }, { name: "eth0", sandbox: "/run/netns/x" }],
    ips: [{ address: `10.1.0.${last}/24`, gateway: "10.1.0.1" }],
  },
  file: "",
});
const theirs = { ...one("theirs", 9), hostName: "tnother" };
const inventory = new Inventory([one("a", 2), one("b", 3), one("c", 4, "br1"), theirs]);
const about = (event: Event) =>
  inventory.affected(event, (index) => ({ 7: "tnb" })[index as 7]).map(({ containerId }) => containerId);
const link = (name: string, more: object = {}) =>
  about({ of: "link", gone: false, index: 1, name, up: true, mtu: 1500, left: false, ...more });

test("a link is its pods': a bridge that went of all, one that only changed of one", () => {
  expect([link("tna"), link("cni0"), link("cni0", { gone: true }), link("cni0", { up: false })]).toEqual([
    ["a"],
    ["a"],
    ["a", "b"],
    ["a", "b"],
  ]);
  expect([link("eth0"), link("none"), link("tntheirs")]).toEqual([[], [], []]);
});

test("addresses, routes, shaping", () => {
  expect(about({ of: "address", gone: true, index: 1, ip: "10.1.0.1" })).toEqual(["a", "b", "c"]);
  expect(about({ of: "address", gone: true, index: 1, ip: "10.1.0.2" })).toEqual([]);
  expect(about({ of: "route", gone: true, destination: "10.1.0.3/32", protocol: 116 })).toEqual(["b"]);
  expect(about({ of: "route", gone: true, destination: "10.1.0.0/24", protocol: 2 })).toEqual(["a", "b", "c"]);
  expect(about({ of: "shaping", index: 7 })).toEqual(["b"]);
  expect(about({ of: "shaping", index: 8 })).toEqual([]);
  expect(about({ of: "neighbor", index: 7, ip: "10.1.0.3" })).toEqual([]);
});

test("elements are by label, what they stand in is everybody's", () => {
  const event = { of: "nftables", pid: 1, program: "nft" } as const;
  expect(about({ ...event, structure: false, labels: ["pods/b/eth0", "x/y/z", "pods/theirs/eth0"] })).toEqual(["b"]);
  expect(about({ ...event, structure: true, labels: [] })).toEqual(["a", "b", "c"]);
});
