// Each test in a node of its own, read back with nft. What the sets do to packets: test/plugins/firewall-reference.test.ts.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { codes } from "../../../lib/cni/errors.ts";
import { type BridgeGuard, checkGuard, ensureGuard, sweepGuards } from "../../../lib/ip/bridge-guard.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;

beforeEach(async () => {
  node = await makeNode("guard");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});

afterEach(async () => {
  ns.close();
  await node.close();
});

const guard = (network: string, bridge: string, policy: BridgeGuard["policy"]): BridgeGuard => ({
  network,
  bridge,
  policy,
});

/** The elements of each set, as words. */
async function sets() {
  const { stdout } = await node.exec("nft", ["-j", "list", "ruleset"]);
  const words = (one: any): string =>
    one.elem ? `${words(one.elem.val)} ${one.elem.comment}` : typeof one === "string" ? one : one.concat.join(" ");
  const all: any[] = JSON.parse(stdout).nftables.flatMap(({ set }: any) => set ?? []);
  const of = (name: string) => (all.find((set) => set.name === `firewall/${name}`)?.elem ?? []).map(words).sort();
  return { bridges: of("bridges"), loops: of("loops"), guards: of("guards") };
}

test("a bridge of policy same-bridge has a loop, an isolated one has none", async () => {
  for (let time = 0; time < 2; time++) {
    ensureGuard(ns, guard("one", "cni1", "same-bridge"));
    ensureGuard(ns, guard("two", "cni2", "isolated"));
  }
  expect(await sets()).toEqual({
    bridges: ["cni1", "cni2"],
    loops: ["cni1 cni1"],
    guards: ["cni1 one same-bridge", "cni2 two isolated"],
  });
});

test("of two networks on one bridge the stricter policy wins, until it goes", async () => {
  ensureGuard(ns, guard("one", "cni0", "same-bridge"));
  ensureGuard(ns, guard("two", "cni0", "isolated"));
  ensureGuard(ns, guard("one", "cni0", "same-bridge"));
  checkGuard(ns, guard("one", "cni0", "same-bridge"));
  expect(await sets()).toMatchObject({ bridges: ["cni0"], loops: [] });
  sweepGuards(ns, "two");
  expect(await sets()).toEqual({ bridges: ["cni0"], loops: ["cni0 cni0"], guards: ["cni0 one same-bridge"] });
  sweepGuards(ns, "one");
  expect(await sets()).toEqual({ bridges: [], loops: [], guards: [] });
});

test("another policy for the same network takes the place of the old one", async () => {
  ensureGuard(ns, guard("one", "cni0", "isolated"));
  ensureGuard(ns, guard("one", "cni0", "same-bridge"));
  expect(await sets()).toMatchObject({ loops: ["cni0 cni0"], guards: ["cni0 one same-bridge"] });
  ensureGuard(ns, guard("one", "cni0", "isolated"));
  expect(await sets()).toMatchObject({ loops: [], guards: ["cni0 one isolated"] });
});

test("networks with long names, alike at the beginning, are told apart", async () => {
  const [one, two] = [`${"n".repeat(100)}1`, `${"n".repeat(100)}2`];
  ensureGuard(ns, guard(one, "cni1", "isolated"));
  ensureGuard(ns, guard(two, "cni2", "isolated"));
  sweepGuards(ns, one);
  expect(await sets()).toMatchObject({ bridges: ["cni2"] });
});

test("check names what is missing, and ensure brings it back", async () => {
  const one = guard("one", "cni0", "same-bridge");
  const complaint = () => {
    try {
      checkGuard(ns, one);
      return "";
    } catch (error) {
      expect(error).toMatchObject({ code: codes.checkFailed });
      return (error as Error).message;
    }
  };
  expect(complaint()).toContain('policy "same-bridge" of bridge "cni0"');
  ensureGuard(ns, one);
  for (const set of ["bridges", "loops", "guards"]) {
    expect(complaint()).toBe("");
    await node.exec("nft", ["flush", "set", "inet", "tenon", `firewall/${set}`]);
    expect(complaint()).toContain("cni0");
    ensureGuard(ns, one);
  }
  expect(complaint()).toBe("");
});

test("sweep where nothing was ever guarded makes nothing", async () => {
  sweepGuards(ns, "one");
  expect((await node.exec("nft", ["list", "ruleset"])).stdout).toBe("");
});

test.each(["", "a-name-of-16-byt"])("bridge %p is refused", (bridge) => {
  expect(() => ensureGuard(ns, guard("one", bridge, "isolated"))).toThrow(RangeError);
});
