import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { hashedMac, hexName, hostLinkName, isOfNetwork, labelOf } from "../../../lib/cni/identity.ts";
import { parseMac } from "../../../lib/netlink/inet.ts";

// What request.ts lets through.
const name = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}$/);
const ifname = fc.stringMatching(/^[^/:\s\0]{1,15}$/u).filter((text) => new TextEncoder().encode(text).length <= 15);
const attachment = fc.tuple(name, name, ifname);

test("the host end's name is a hash of network, container and interface, and never changes", () => {
  expect(hostLinkName("net", "cid", "eth0")).toBe("tnvkgemujstroyd");
  expect(hashedMac("net/cid/eth0 host")).toBe("6a:a1:52:b6:13:8b");
});

test("names of many attachments are all different, and every character of them is", () => {
  const names = Array.from({ length: 50_000 }, (_, at) => hostLinkName("pods", `c${at}`, "eth0"));
  expect(new Set(names).size).toBe(names.length);
  expect(new Set(names.map((_, at) => hashedMac(`node-${at}`))).size).toBe(names.length);
  for (let place = 2; place < 15; place++) {
    const counts = new Map<string, number>();
    for (const name of names) counts.set(name[place]!, (counts.get(name[place]!) ?? 0) + 1);
    // 32 letters: 1,562 of each are expected, and 300 more or less are seven times the usual deviation.
    expect(counts.size).toBe(32);
    for (const count of counts.values()) expect(Math.abs(count - 1562)).toBeLessThan(300);
  }
});

test("the host end's name is a name of a link", () => {
  fc.assert(
    fc.property(attachment, (some) => {
      expect(hostLinkName(...some)).toMatch(/^tn[a-z2-7]{13}$/);
    }),
  );
});

test("parts of a name are not confused with one another", () => {
  const names: [string, string, string][] = [
    ["a", "bc", "d"],
    ["ab", "c", "d"],
    ["a", "b", "cd"],
    ["b", "a", "d"],
  ];
  expect(new Set(names.map((some) => hostLinkName(...some))).size).toBe(names.length);
});

test("a hashed MAC address is one address, made here, the same each time", () => {
  expect(hashedMac("10.1.2.3")).toBe(hashedMac("10.1.2.3"));
  expect(hashedMac("10.1.2.3")).not.toBe(hashedMac("10.1.2.4"));
  fc.assert(
    fc.property(fc.string(), (text) => {
      const [first] = parseMac(hashedMac(text))!;
      expect(first! & 3).toBe(2); // locally administered, not of a group
    }),
  );
});

test.each([
  ["CNI-", "test1234", 28, "CNI-2bbe0c48b91a7d1b8a6753a8"],
  ["CNI-DN-", "mcid1", 28, "CNI-DN-27788728b667e4526fa31"],
  ["bwp", "cni-plugin-bandwidth-testdummy", 15, "bwpa8eda89404b7"],
])("%s and %s make a name as the Go plugins make it", (prefix, text, length, name) => {
  expect(hexName(prefix, text, length)).toBe(name);
});

test("a label is network, container and interface, while it is short enough", () => {
  expect(labelOf("net", "cid", "eth0")).toBe("net/cid/eth0");
  const container = "c".repeat(64);
  expect(labelOf("net", container, "eth0")).toBe(`net/${container}/eth0`);
  expect(labelOf("n".repeat(50), container, "eth0")).toHaveLength(120);
  expect(labelOf("n".repeat(51), container, "eth0")).toMatch(/^~[a-z2-7]{26}\/[a-z2-7]{26}\/eth0$/);
});

test("a label fits a comment of nftables, its interface's name always readable", () => {
  fc.assert(
    fc.property(attachment, (some) => {
      const label = labelOf(...some);
      expect(new TextEncoder().encode(label).length).toBeLessThanOrEqual(120);
      expect(label.endsWith(`/${some[2]}`)).toBe(true);
      expect(label.split("/").length).toBe(3);
    }),
  );
});

test("letters of several bytes count as such", () => {
  const label = labelOf("n".repeat(101), "cid", "日本日本日");
  expect(label).toStartWith("~");
  expect(labelOf("n".repeat(100), "cid", "日本日本日")).toStartWith("nnn");
});

test("a label is of its own network and of no other", () => {
  fc.assert(
    fc.property(attachment, name, (some, other) => {
      expect(isOfNetwork(labelOf(...some), some[0])).toBe(true);
      if (other !== some[0]) expect(isOfNetwork(labelOf(...some), other)).toBe(false);
    }),
  );
});

test("a network whose name begins another's does not own that one's labels", () => {
  for (const [mine, theirs] of [
    ["net", "net-2"],
    ["net", "net.cid"],
    ["a".repeat(60), "a".repeat(61)],
    ["a".repeat(150), "a".repeat(151)],
  ] as const) {
    expect(isOfNetwork(labelOf(theirs, "c".repeat(64), "eth0"), mine)).toBe(false);
    expect(isOfNetwork(labelOf(mine, "c".repeat(64), "eth0"), theirs)).toBe(false);
  }
});

test("long attachments that differ in one part have labels that differ", () => {
  const [n, c] = ["n".repeat(200), "c".repeat(200)];
  const all = [labelOf(n, c, "eth0"), labelOf(`${n.slice(1)}x`, c, "eth0"), labelOf(n, `${c.slice(1)}x`, "eth0")];
  expect(new Set([...all, labelOf(n, c, "eth1")]).size).toBe(4);
});
