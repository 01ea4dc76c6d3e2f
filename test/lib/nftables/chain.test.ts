import { expect, test } from "bun:test";
import { addChain, type Chain, deleteChain, dumpChains, getChain, readChain } from "../../../lib/nftables/chain.ts";
import { bodyOf, hex, rows } from "../../helpers/bytes.ts";

const inet = { family: "inet", name: "tenon" } as const;
const bridge = { family: "bridge", name: "tenon" } as const;
const nat: Chain = {
  table: inet,
  name: "postrouting",
  base: { type: "nat", hook: "postrouting", priority: 100, policy: "accept" },
};
const early: Chain = {
  table: bridge,
  name: "prerouting",
  base: { type: "filter", hook: "prerouting", priority: -300, policy: "drop" },
};

// What `nft -f` sends, in our order of attributes.
const natBytes = `
  01 00 00 00            NFPROTO_INET
  0a 00 01 00            NFTA_CHAIN_TABLE
  "tenon" 00 00 00
  10 00 03 00            NFTA_CHAIN_NAME
  "postrouting" 00
  14 00 04 80            NFTA_CHAIN_HOOK
  08 00 01 00            NFTA_HOOK_HOOKNUM
  00 00 00 04            NF_INET_POST_ROUTING
  08 00 02 00            NFTA_HOOK_PRIORITY
  00 00 00 64            100
  08 00 05 00            NFTA_CHAIN_POLICY
  00 00 00 01            NF_ACCEPT
  08 00 07 00            NFTA_CHAIN_TYPE
  "nat" 00
`;
const earlyBytes = `
  07 00 00 00            NFPROTO_BRIDGE
  0a 00 01 00
  "tenon" 00 00 00
  0f 00 03 00
  "prerouting" 00 00
  14 00 04 80
  08 00 01 00
  00 00 00 00            NF_BR_PRE_ROUTING
  08 00 02 00
  ff ff fe d4            -300
  08 00 05 00
  00 00 00 00            NF_DROP
  0b 00 07 00
  "filter" 00 00
`;

test.each([
  ["nat", nat, natBytes],
  ["filter of a negative priority", early, earlyBytes],
] as const)("a base chain for %s is written and read", (_, chain, bytes) => {
  expect(addChain(chain)).toMatchObject({ type: 0x0a03, flags: 0x400 });
  expect(rows(bodyOf(addChain(chain)))).toEqual(rows(hex(bytes)));
  expect(readChain({ type: 0x0a03, payload: hex(bytes) })).toEqual(chain);
});

test("a chain without a base has neither hook nor policy", () => {
  const chain = { table: inet, name: "rest" };
  const bytes = hex('01 00 00 00 0a 00 01 00 "tenon" 00 00 00 09 00 03 00 "rest" 00 00 00 00');
  expect(rows(bodyOf(addChain(chain)))).toEqual(rows(bytes));
  expect(readChain({ type: 0x0a03, payload: bytes })).toEqual(chain);
});

test("a chain is deleted and asked for by name, and listed by family", () => {
  expect(deleteChain(nat)).toMatchObject({ label: "delete chain inet tenon postrouting", type: 0x0a05 });
  expect(rows(bodyOf(deleteChain(nat)))).toEqual(
    rows(hex('01 00 00 00 0a 00 01 00 "tenon" 00 00 00 10 00 03 00 "postrouting" 00')),
  );
  expect(getChain(nat)).toMatchObject({ label: "find chain inet tenon postrouting", type: 0x0a04, flags: 0 });
  expect(rows(bodyOf(getChain(nat)))).toEqual(rows(bodyOf(deleteChain(nat))));
  expect(dumpChains(inet)).toMatchObject({ type: 0x0a04, flags: 0 });
  expect(bodyOf(dumpChains(bridge))[0]).toBe(7);
});
