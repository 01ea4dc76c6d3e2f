// Each test in a node of its own, read back with tc; frames are counted where they must have gone.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { CniError, codes } from "../../../lib/cni/errors.ts";
import { findLink, type Link } from "../../../lib/ip/link.ts";
import {
  assertShaped,
  createDevice,
  findLinks,
  missingKinds,
  type Shaping,
  shapeReceiving,
  shapeSending,
  unshapeLink,
} from "../../../lib/ip/shaping.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { isErrno } from "../../../lib/sys/libc.ts";
import { makeNode, type Netns, type Node } from "../../helpers/node.ts";
import { script } from "../../helpers/traffic.ts";

let node: Node;
let ns: Namespace;
let pod: Netns;
let link: Link;

// The host's end of a pair, with a pod at the other.
beforeEach(async () => {
  node = await makeNode("shaping");
  ns = openNamespace(node.path("/proc/1/ns/net"));
  pod = await node.netns("pod");
  await node.exec("sh", ["-ec", "ip link add end type veth peer name eth0 netns pod; ip link set end mtu 1400 up"]);
  for (const [at, dev, host] of [
    [node, "end", 1],
    [pod, "eth0", 2],
  ] as const) {
    await at.exec("ip", ["address", "add", `10.9.0.${host}/24`, "dev", dev]);
    await at.exec("ip", ["address", "add", `fd00:9::${host}/64`, "dev", dev, "nodad"]);
  }
  await pod.exec("ip", ["link", "set", "eth0", "mtu", "1400", "up"]);
  link = findLink(ns, "end")!;
});

afterEach(async () => {
  ns.close();
  await node.close();
});

const tc = async (...args: string[]) => JSON.parse((await node.exec("tc", ["-j", ...args])).stdout || "[]");
const qdisc = async (name = "end"): Promise<any> => (await tc("-s", "qdisc", "show", "dev", name, "root"))[0];
const filters = async (...place: string[]) =>
  (await tc("filter", "show", "dev", "end", ...place)).filter(({ options }: any) => options?.match);

/** Many more than what links and neighbours say of themselves in the meantime. */
const some = 30;
const pings = (address: string) => pod.exec("ping", ["-q", `-c${some}`, "-i0.002", "-W1", address]);

/** Packets that the one class has sent; tc has no JSON for it. */
async function classPackets(): Promise<number> {
  const { stdout } = await node.exec("tc", ["-s", "class", "show", "dev", "end"]);
  return Number(/Sent \d+ bytes (\d+) pkt/.exec(stdout)![1]);
}

/** 10 Mbit/s, with 0.1 s of it as burst. */
const limit = { rate: 1_250_000, burst: 125_000 };

const device = () => createDevice(ns, { name: "bwp0", alias: "net/c1/eth0", mtu: link.mtu });

function differs(shaping: Shaping, words: string, device?: Link): void {
  let thrown: unknown;
  try {
    assertShaped(ns, link, shaping, device);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(CniError);
  expect((thrown as CniError).code).toBe(codes.checkFailed);
  expect((thrown as CniError).message).toContain(words);
}

test("sending: a token bucket at the root, replaced by another limit, and gone", async () => {
  differs({ sending: limit }, '"end"');
  shapeSending(ns, link, limit);
  expect(await qdisc()).toMatchObject({
    kind: "tbf",
    handle: "7e00:",
    options: { rate: 1_250_000, burst: 125_000, lat: 25_000 },
  });
  assertShaped(ns, link, { sending: limit });
  const other = { rate: 2_500_000, burst: 250_000 };
  shapeSending(ns, link, other);
  assertShaped(ns, link, { sending: other });
  differs({ sending: limit }, "2500000 bytes a second, not 1250000");
  differs({ sending: { ...other, burst: 125_000 } }, "burst is not 125000");
  unshapeLink(ns, link.index);
  unshapeLink(ns, link.index);
  unshapeLink(ns, 4711); // a link that went meanwhile
  expect((await qdisc()).kind).toBe("noqueue");
});

test("the root of somebody else is an error and stays", async () => {
  await node.exec("tc", ["qdisc", "add", "dev", "end", "root", "handle", "1:", "tbf", ...args("1mbit 9000 9000")]);
  let thrown: any;
  try {
    shapeSending(ns, link, limit);
  } catch (error) {
    thrown = error;
  }
  expect(thrown?.code).toBe(codes.alreadyExists);
  expect(thrown?.message).toContain('"end"');
  unshapeLink(ns, link.index);
  expect(await qdisc()).toMatchObject({ kind: "tbf", handle: "1:", options: { rate: 125_000 } });
});

const args = (words: string) => ["rate", "burst", "limit"].flatMap((name, at) => [name, words.split(" ")[at]!]);

// 2^32 - 1 bits is what containerd sends. The lower 32 bits of its ticks are next to none at this rate.
test("a burst of more ticks than 32 bits hold is there whole", async () => {
  const huge = { rate: 1_953_000, burst: 536_870_911 };
  shapeSending(ns, link, huge);
  assertShaped(ns, link, { sending: huge });
  await node.exec("ip", ["neighbor", "add", "10.9.0.99", "lladdr", await macOf(), "dev", "end"]);
  const [, { stdout }] = await Promise.all([
    node.exec(process.execPath, [script, "send", "10.9.0.99", "50000000", "0.9"]),
    pod.exec(process.execPath, [script, "count", "eth0", "300", "300"]),
  ]);
  expect(Number(stdout)).toBeGreaterThan(40_000_000);
});

const macOf = async () => JSON.parse((await pod.exec("ip", ["-j", "link", "show", "eth0"])).stdout)[0].address;

test.each([
  ["a byte a second", { rate: 1, burst: 1 }],
  ["more than 32 bits of rate", { rate: 5_000_000_000, burst: 125_000 }],
  ["the largest of all", { rate: 2 ** 48, burst: 0xfffffffe }],
])("%s is what it is, with subnets and without", (_, limit) => {
  for (const subnets of [undefined, { shaped: true, cidrs: ["10.0.0.0/8"] }]) {
    shapeSending(ns, link, limit, subnets);
    assertShaped(ns, link, { sending: limit, subnets });
    differs({ sending: { ...limit, rate: limit.rate + 1 }, subnets }, "bytes a second");
  }
});

test("an ifb link has the MTU that it is given, a name, an alias, and is up; a name that is taken is EEXIST", async () => {
  const made = device();
  const [seen] = JSON.parse((await node.exec("ip", ["-j", "-d", "link", "show", "bwp0"])).stdout);
  expect(seen).toMatchObject({ mtu: 1400, ifalias: "net/c1/eth0", address: made.mac, txqlen: 1000 });
  expect(seen.flags).toContain("UP");
  expect(seen.linkinfo.info_kind).toBe("ifb");
  let thrown: unknown;
  try {
    device();
  } catch (error) {
    thrown = error;
  }
  expect(isErrno(thrown, "EEXIST")).toBe(true);
  expect(findLinks(ns, ["bwp0", "none", "end"]).map((link) => link?.index)).toEqual([
    made.index,
    undefined,
    link.index,
  ]);
});

test("receiving: frames go by the ifb link, and go on as if they had not", async () => {
  const ifb = device();
  shapeReceiving(ns, link, ifb, limit);
  assertShaped(ns, link, { receiving: limit }, ifb);
  expect((await tc("qdisc", "show", "dev", "end")).map(({ kind }: any) => kind).sort()).toEqual(["clsact", "noqueue"]);
  expect(await filters("ingress")).toMatchObject([
    { protocol: "all", pref: 65522, options: { actions: [{ kind: "mirred", to_dev: "bwp0" }] } },
  ]);
  await pod.exec("ping", ["-c2", "-i0.1", "-W1", "10.9.0.1"]);
  await pod.exec("ping", ["-c2", "-i0.1", "-W1", "fd00:9::1"]);
  expect((await qdisc("bwp0")).packets).toBeGreaterThanOrEqual(4);
  unshapeLink(ns, link.index);
  expect(await filters("ingress")).toEqual([]);
  const { packets } = await qdisc("bwp0");
  await pod.exec("ping", ["-c1", "-W1", "10.9.0.1"]);
  expect((await qdisc("bwp0")).packets).toBe(packets);
});

test.each(["ingress", "clsact"])(
  "receiving with an %s that is there: its filters decide first, and stay",
  async (kind) => {
    await node.exec("tc", ["qdisc", "add", "dev", "end", kind]);
    const theirs = "protocol ip pref 7 u32 match ip dst 10.9.0.1/32 flowid ffff:1".split(" ");
    await node.exec("tc", ["filter", "add", "dev", "end", "ingress", ...theirs]);
    const before = await filters("ingress");
    const ifb = device();
    shapeReceiving(ns, link, ifb, limit);
    shapeReceiving(ns, link, ifb, limit); // again is no second filter
    expect((await filters("ingress")).map(({ pref }: any) => pref)).toEqual([7, 65522]);
    assertShaped(ns, link, { receiving: limit }, ifb);
    const { packets } = await qdisc("bwp0");
    await pings("10.9.0.1");
    expect((await qdisc("bwp0")).packets - packets).toBeLessThan(some / 2);
    await pings("fd00:9::1");
    expect((await qdisc("bwp0")).packets - packets).toBeGreaterThanOrEqual(some);
    unshapeLink(ns, link.index);
    expect(await filters("ingress")).toEqual(before);
    expect((await tc("qdisc", "show", "dev", "end")).map(({ kind }: any) => kind)).toContain(kind);
  },
);

const families = [
  ["10.9.0.1", ["10.9.0.0/30", "192.0.2.0/24"]],
  ["10.9.0.1", ["0.0.0.0/0"]],
  ["fd00:9::1", ["fd00:8::/64", "fd00:9::/33"]],
  ["fd00:9::1", ["fd00:9::1/128"]],
] as const;

for (const shaped of [true, false]) {
  test(`subnets: ${shaped ? "they alone are" : "all but they are"} shaped, both ways, both families`, async () => {
    const ifb = device();
    for (const [address, cidrs] of families) {
      const others = address.includes(":") ? "10.9.0.1" : "fd00:9::1";
      const subnets = { shaped, cidrs };
      shapeSending(ns, link, limit, subnets);
      shapeReceiving(ns, link, ifb, limit, subnets);
      assertShaped(ns, link, { sending: limit, receiving: limit, subnets }, ifb);
      differs({ sending: limit, subnets: { shaped: !shaped, cidrs } }, "subnets");
      differs({ sending: limit, subnets: { shaped, cidrs: ["172.16.0.0/12"] } }, "filter");
      differs({ receiving: limit, subnets: { shaped, cidrs: ["172.16.0.0/12"] } }, "filter", ifb);
      // An answer of the node is what it sends, to the pod: the far side's address is the source.
      for (const [target, isNamed] of [
        [address, true],
        [others, false],
      ] as const) {
        const count = async () => [await classPackets(), (await qdisc("bwp0")).packets];
        const before = await count();
        await pings(target);
        const passed = (await count()).map((packets, at) => packets - before[at]);
        for (const packets of passed) {
          if (isNamed === shaped) expect(packets).toBeGreaterThanOrEqual(some);
          else expect(packets).toBeLessThan(some / 2);
        }
      }
      unshapeLink(ns, link.index);
      expect([...(await filters("ingress")), ...(await filters())]).toEqual([]);
    }
  });
}

test("what is wrong with receiving is found: the ifb link, its limit, the filter", async () => {
  const ifb = device();
  const shaping = { receiving: limit };
  differs(shaping, "missing");
  shapeReceiving(ns, link, ifb, limit);
  differs({ receiving: { ...limit, rate: 1 } }, "bytes a second", ifb);
  await node.exec("tc", ["filter", "delete", "dev", "end", "ingress"]);
  differs(shaping, "filter", ifb);
  await node.exec("tc", ["qdisc", "delete", "dev", "end", "clsact"]);
  differs(shaping, "filter", ifb);
  shapeReceiving(ns, link, ifb, limit);
  await node.exec("tc", ["qdisc", "delete", "dev", "bwp0", "root"]);
  differs(shaping, "tbf", ifb);
});

test("a filter that leads to another ifb link is not ours", () => {
  const ifb = device();
  const other = createDevice(ns, { name: "bwp1", alias: "net/c2/eth0" });
  shapeReceiving(ns, link, other, limit);
  shapeSending(ns, ifb, limit);
  differs({ receiving: limit }, "filter", ifb);
});

test("what is no subnet is a TypeError", () => {
  expect(() => shapeSending(ns, link, limit, { shaped: true, cidrs: ["10.0.0.0"] })).toThrow(TypeError);
});

test("kinds that the kernel lacks are found by asking, and nothing is made", async () => {
  const before = (await node.exec("ip", ["-br", "link"])).stdout;
  expect(missingKinds(ns, ["tbf", "htb", "ifb"])).toEqual([]);
  expect(missingKinds(ns, ["tbf", "no-such-kind" as "htb"])).toEqual(["no-such-kind"]);
  expect((await node.exec("ip", ["-br", "link"])).stdout).toBe(before);
  expect((await qdisc("lo")).kind).toBe("noqueue");
});
