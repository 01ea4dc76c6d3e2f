import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Message } from "../../../lib/netlink/socket.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { addChain, type Chain, dumpChains, readChain } from "../../../lib/nftables/chain.ts";
import * as layout from "../../../lib/nftables/layout.ts";
import { addTable, deleteTable, getTable, readTable, type Table } from "../../../lib/nftables/table.ts";
import { commit, tryCommit } from "../../../lib/nftables/transaction.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

const all = Object.values(layout).filter((one) => typeof one === "object") as (Table | Chain)[];
const chains = all.filter((one): one is Chain => "table" in one);
const tables = all.filter((one): one is Table => "family" in one);

let node: Node;
let ns: Namespace;
beforeAll(async () => {
  node = await makeNode("layout");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});
afterAll(async () => {
  ns.close();
  await node.close();
});

async function listed(): Promise<any[]> {
  const { stdout } = await node.exec("nft", ["-j", "list", "ruleset"]);
  return JSON.parse(stdout).nftables.slice(1);
}

test("every chain is made with the hook and priority that the layout fixes, and twice is once", async () => {
  for (let time = 0; time < 2; time++) commit(ns.netfilter, [...tables.map(addTable), ...chains.map(addChain)]);
  const found = (await listed()).flatMap(({ chain }) => chain ?? []);
  const bare = found.map(({ family, table, name, type, hook, prio, policy }) => [
    `${family} ${table} ${name}`,
    `${type} hook ${hook} priority ${prio}; policy ${policy};`,
  ]);
  expect(Object.fromEntries(bare)).toEqual({
    "inet tenon prerouting": "nat hook prerouting priority -100; policy accept;",
    "inet tenon output": "nat hook output priority -100; policy accept;",
    "inet tenon forward": "filter hook forward priority 0; policy accept;",
    "inet tenon postrouting": "nat hook postrouting priority 100; policy accept;",
    "bridge tenon prerouting": "filter hook prerouting priority -300; policy accept;",
  });
});

test("chains and tables are read as they were made", () => {
  for (const chain of chains) {
    const there = ns.netfilter.dump(dumpChains(chain.table)).map(readChain);
    expect(there).toContainEqual(chain);
    const [reply] = ns.netfilter.request(getTable(chain.table));
    const count = chains.filter(({ table }) => table === chain.table).length;
    expect(readTable(reply!.answers[0]!)).toEqual({ ...chain.table, chains: count });
  }
});

/** What a commit was refused with. */
function refusal(changes: Message[]): { operation: string; code: string } {
  const [error] = tryCommit(ns.netfilter, changes);
  return { operation: error!.operation, code: error!.code };
}

test("a chain of ours that somebody hooked elsewhere is refused, and named", () => {
  const moved = { ...layout.postrouting, base: { ...layout.postrouting.base!, priority: 5 } };
  const { operation, code } = refusal([addChain(moved)]);
  expect(operation).toBe("add chain inet tenon postrouting");
  expect(["EEXIST", "EOPNOTSUPP"]).toContain(code); // by kernel
});

test("a table goes with all that is in it", async () => {
  commit(ns.netfilter, tables.map(deleteTable));
  expect(await listed()).toEqual([]);
  expect(refusal([deleteTable(layout.inet)])).toEqual({ operation: "delete table inet tenon", code: "ENOENT" });
});
