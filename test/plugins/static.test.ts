import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { referenceDir } from "../../scripts/reference.ts";
import { makeNode, type Node } from "../helpers/node.ts";
import { call, errorOf, must, ours } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";

const newest = referenceDir().dir; // asked for here: inside a node no archive can be reached
const versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const base = { cniVersion: "1.0.0", name: "net", type: "static" };
const at = { netns: "/run/netns/pod" };
const two = [{ address: "10.0.0.2/24", gateway: "10.0.0.1" }, { address: "2001:db8::2/64" }];

let node: Node;
beforeAll(async () => {
  node = await makeNode("static");
  await node.netns("pod");
});
afterAll(() => node.close());

const args = (ips: string[]) => ({ args: { cni: { ips } } });
const runtime = (ips: string[]) => ({ runtimeConfig: { ips } });

const good: [what: string, change: Record<string, unknown>, args?: string][] = [
  ["addresses", {}],
  [
    "routes and dns",
    {
      ipam: {
        addresses: two,
        routes: [{ dst: "0.0.0.0/0" }, { dst: "10.8.0.0/16", gw: "10.0.0.9" }],
        dns: { nameservers: ["192.0.2.53"], domain: "example", search: ["a"], options: ["b"] },
      },
    },
  ],
  [
    "two routes to one destination",
    { ipam: { addresses: two, routes: ["10.0.0.8", "10.0.0.9"].map((gw) => ({ dst: "10.8.0.0/16", gw })) } },
  ],
  ["addresses of CNI_ARGS after them", {}, "IP=10.0.1.2/24, 10.0.2.2/24"],
  [
    "a gateway of CNI_ARGS for those that it fits",
    {},
    "IP=10.0.1.2/24,10.0.2.2/24,2001:db8::9/64;GATEWAY=10.0.2.1,2001:db8::1",
  ],
  ["a gateway of CNI_ARGS that fits a configured address alone", {}, "IP=10.0.1.2/24;GATEWAY=10.0.0.99"],
  ["a gateway of CNI_ARGS that fits none", {}, "GATEWAY=192.0.2.1"],
  ["the last of two gateways", {}, "IP=10.0.1.2/24;GATEWAY=10.0.1.1,10.0.1.3"],
  ["addresses of args alone", args(["10.9.0.2/24"]), "IP=10.0.1.2/24;GATEWAY=10.9.0.1"],
  ["addresses of runtimeConfig alone", { ...args(["10.9.0.2/24"]), ...runtime(["10.8.0.2/24", "2001:db8::9/64"]) }],
  ["empty lists, which replace nothing", { ...args([]), ...runtime([]) }],
  ["the same address twice", { ipam: { addresses: [two[0], two[0]] } }],
  ["an empty gateway", { ipam: { addresses: [{ address: "10.0.0.2/24", gateway: "" }] } }],
  ["no address", { ipam: {} }],
  ["keys in other cases and null", { ipam: { ADDRESSES: [{ address: "10.0.0.2/24", GATEWAY: null }], routes: null } }],
  ["what nobody knows", { ipam: { addresses: two, more: 1 } }, "IgnoreUnknown=1;K8S_POD_NAME=a;IP=10.0.1.2/24"],
];

for (const [what, change, given = ""] of good) {
  test(`static and the reference agree on ${what}`, async () => {
    const conf = { ...base, ipam: { addresses: two }, ...change };
    const results = [];
    for (const bin of [newest, ours]) {
      results.push((await call(node, "ADD", conf, { ...at, bin, args: given })).stdout);
      await must(node, "DEL", conf, { ...at, bin, args: given });
    }
    expect(results[1]).toBe(results[0]!);
    const prevResult = JSON.parse(results[1]!);
    for (const bin of [newest, ours]) await must(node, "CHECK", { ...conf, prevResult }, { ...at, bin, args: given });
  });
}

const bad: [change: Record<string, unknown>, names: string[], args?: string, code?: number][] = [
  [{ ipam: undefined }, ["ipam"]],
  [{ ipam: { addresses: [{ address: "10.0.0.2" }] } }, ["ipam.addresses[0].address", "10.0.0.2"]],
  [{ ipam: { addresses: [{ address: "10.0.0.3/33" }] } }, ["ipam.addresses[0].address", "10.0.0.3/33"]],
  [{ ipam: { addresses: [{ gateway: "10.0.0.2" }] } }, ["ipam.addresses[0].address"]],
  [{ ipam: { addresses: [{ address: "10.0.0.2/24", gateway: "10.0.0" }] } }, ["ipam.addresses[0].gateway", "10.0.0"]],
  [{ ipam: { addresses: "10.0.0.2/24" } }, ["ipam.addresses", "10.0.0.2/24"]],
  [{ ipam: { addresses: two, routes: [{ dst: "10.0.0.1" }] } }, ["ipam.routes[0].dst", "10.0.0.1"]],
  [args(["10.9.0.2"]), ["args.cni.ips[0]", "10.9.0.2"]],
  [runtime(["10.9.0.2"]), ["runtimeConfig.ips[0]", "10.9.0.2"]],
  [{}, ["CNI_ARGS IP", "10.0.1.2"], "IP=10.0.1.2"],
  [{}, ["CNI_ARGS GATEWAY", "zz"], "GATEWAY=zz"],
  [{}, ["CNI_ARGS GATEWAY", "10.0.0.1,"], "GATEWAY=10.0.0.1,"],
  [{}, ["CNI_ARGS", "FOO=1"], "FOO=1", 4],
  [{ cniVersion: "0.2.0" }, ["0.2.0", "10.0.1.2/24"], "IP=10.0.1.2/24", 2],
  [{ cniVersion: "0.2.0", ipam: {} }, ["0.2.0"], "", 2],
];

test("static refuses what the reference refuses, and names it; DEL takes it all the same", async () => {
  for (const [change, names, given = "", code = 7] of bad) {
    const conf = { ...base, ipam: { addresses: two }, ...change };
    const mine = errorOf(await call(node, "ADD", conf, { ...at, args: given }));
    expect({
      code: mine.code,
      names: names.filter((name) => !mine.msg.includes(name) && !mine.details?.includes(name)),
    }).toEqual({
      code,
      names: [],
    });
    expect((await call(node, "ADD", conf, { ...at, bin: newest, args: given })).exitCode).toBe(1);
    await must(node, "DEL", conf, { ...at, args: given });
  }
});

test("static hands on every route field of 1.1.0", async () => {
  const routes = [{ dst: "10.8.0.0/16", gw: "10.0.0.9", mtu: 1400, advmss: 1300, priority: 5, table: 0, scope: 0 }];
  const result = await must(node, "ADD", { ...base, cniVersion: "1.1.0", ipam: { addresses: two, routes } }, at);
  expect(result.routes).toEqual(routes);
});

test("static speaks every version as the reference does", async () => {
  const routes = [{ dst: "0.0.0.0/0" }, { dst: "::/0", gw: "2001:db8::1" }];
  for (const cniVersion of versions) {
    const conf = { ...base, cniVersion, ipam: { addresses: two, routes } };
    const [mine, theirs] = [await call(node, "ADD", conf, at), await call(node, "ADD", conf, { ...at, bin: newest })];
    expect(mine.stdout).toBe(theirs.stdout);
    expect(mine.json.cniVersion).toBe(cniVersion);
  }
});

describe("static CHECK", () => {
  const conf = { ...base, ipam: { addresses: two } };
  const check = (ips: unknown[] | undefined) =>
    call(node, "CHECK", { ...conf, prevResult: ips && { cniVersion: "1.0.0", ips } }, at);

  test("takes addresses of other plugins, and gateways where none was configured", async () => {
    const ips = [{ address: "192.0.2.1/24" }, two[0], { address: "2001:db8::2/64", gateway: "2001:db8::1" }];
    expect((await check(ips)).exitCode).toBe(0);
  });

  test("misses an address, another gateway, and a result", async () => {
    const missing = errorOf(await check([two[0]]));
    expect(missing).toMatchObject({ code: 101, msg: expect.stringContaining("2001:db8::2/64") });
    const other = errorOf(await check([{ ...two[0], gateway: "10.0.0.77" }, two[1]]));
    expect(other).toMatchObject({ code: 101, msg: expect.stringContaining("10.0.0.77") });
    expect(errorOf(await check(undefined))).toMatchObject({ code: 7, msg: expect.stringContaining("prevResult") });
  });
});

test("static keeps nothing: DEL, GC and STATUS succeed in any order; a wrong configuration fails STATUS", async () => {
  const conf = { ...base, cniVersion: "1.1.0", ipam: { addresses: two } };
  const before = await snapshot(node);
  await must(node, "DEL", conf, { netns: "" });
  await must(node, "ADD", conf, at);
  await must(node, "STATUS", conf);
  await must(node, "GC", { ...conf, "cni.dev/valid-attachments": [] });
  await must(node, "DEL", { ...conf, prevResult: { ips: "garbled" } }, { netns: "/run/netns/none" });
  expect(leftOver(before, await snapshot(node))).toEqual([]);
  expect(errorOf(await call(node, "GC", conf)).msg).toContain("cni.dev/valid-attachments");
  expect(errorOf(await call(node, "STATUS", { ...conf, ipam: { addresses: [{}] } })).msg).toContain("address");
  for (const verb of ["STATUS", "GC"]) expect(errorOf(await call(node, verb, base)).code).toBe(1);
});
