import { expect, test } from "bun:test";
import {
  addSet,
  deleteSet,
  dumpSets,
  getSet,
  type Key,
  keyLength,
  keys,
  readSet,
  type SetSpec,
} from "../../../lib/nftables/set.ts";
import { bodyOf, hex, rows } from "../../helpers/bytes.ts";

const inet = { family: "inet", name: "tenon" } as const;
const head = `
  01 00 00 00
  0a 00 01 00            NFTA_SET_TABLE
  "tenon" 00 00 00
`;

const cases: [what: string, set: SetSpec, bytes: string][] = [
  [
    "of addresses, with a comment",
    { table: inet, name: "pods", key: ["ipv4_addr"], comment: "podnet" },
    `${head}
    09 00 02 00            NFTA_SET_NAME
    "pods" 00 00 00 00
    08 00 03 00            NFTA_SET_FLAGS
    00 00 00 00
    08 00 04 00            NFTA_SET_KEY_TYPE
    00 00 00 07            ipv4_addr
    08 00 05 00            NFTA_SET_KEY_LEN
    00 00 00 04
    08 00 0a 00            NFTA_SET_ID
    00 00 00 01
    13 00 0d 00            NFTA_SET_USERDATA
    00 04 02 00 00 00      the key is shown from its highest byte on
    07 07 "podnet" 00 00   the comment, padding`,
  ],
  [
    "of intervals",
    { table: inet, name: "nets", key: ["ipv6_addr"], intervals: true },
    `${head}
    09 00 02 00
    "nets" 00 00 00 00
    08 00 03 00
    00 00 00 06            NFT_SET_CONSTANT, NFT_SET_INTERVAL
    08 00 04 00
    00 00 00 08            ipv6_addr
    08 00 05 00
    00 00 00 10
    08 00 0a 00
    00 00 00 01
    0a 00 0d 00
    00 04 02 00 00 00 00 00`,
  ],
  [
    "of names of links",
    { table: inet, name: "port", key: ["ifname"] },
    `${head}
    09 00 02 00
    "port" 00 00 00 00
    08 00 03 00
    00 00 00 00
    08 00 04 00
    00 00 00 29            ifname
    08 00 05 00
    00 00 00 10
    08 00 0a 00
    00 00 00 01
    0a 00 0d 00
    00 04 01 00 00 00 00 00  a name is shown in this machine's order`,
  ],
  [
    "of names and MAC addresses side by side",
    { table: inet, name: "both", key: ["ifname", "ether_addr"] },
    `${head}
    09 00 02 00
    "both" 00 00 00 00
    08 00 03 00
    00 00 00 00
    08 00 04 00
    00 00 0a 49            41 << 6 | 9
    08 00 05 00
    00 00 00 18            16 and 8: the MAC fills two registers
    08 00 0a 00
    00 00 00 01
    0a 00 0d 00
    00 04 00 00 00 00 00 00`,
  ],
  [
    "with data, a map, of protocol and port to address and port",
    {
      table: inet,
      name: "maps",
      key: ["inet_proto", "inet_service"],
      data: ["ipv4_addr", "inet_service"],
      counted: true,
    },
    `${head}
    09 00 02 00
    "maps" 00 00 00 00
    08 00 03 00
    00 00 00 08            NFT_SET_MAP
    08 00 04 00
    00 00 03 0d            12 << 6 | 13
    08 00 05 00
    00 00 00 08
    08 00 06 00            NFTA_SET_DATA_TYPE
    00 00 01 cd            7 << 6 | 13
    08 00 07 00            NFTA_SET_DATA_LEN
    00 00 00 08
    08 00 0a 00
    00 00 00 01
    10 00 0d 00
    00 04 00 00 00 00      keys side by side have no order
    01 04 00 00 00 00      nor has such data
    14 00 11 80            NFTA_SET_EXPR
    0c 00 01 00
    "counter" 00
    04 00 02 80            NFTA_EXPR_DATA`,
  ],
  [
    "with data, a map, of names of links to numbers",
    { table: inet, name: "maps", key: ["ifname"], data: ["mark"] },
    `${head}
    09 00 02 00
    "maps" 00 00 00 00
    08 00 03 00
    00 00 00 08
    08 00 04 00
    00 00 00 29
    08 00 05 00
    00 00 00 10
    08 00 06 00
    00 00 00 13            mark
    08 00 07 00
    00 00 00 04
    08 00 0a 00
    00 00 00 01
    10 00 0d 00
    00 04 01 00 00 00
    01 04 01 00 00 00      the data is shown in this machine's order`,
  ],
];

test.each(cases)("a set %s is written and read", (_, set, bytes) => {
  expect(addSet(set)).toMatchObject({ label: `add set inet tenon ${set.name}`, type: 0x0a09, flags: 0x400 });
  expect(rows(bodyOf(addSet(set)))).toEqual(rows(hex(bytes)));
  expect(readSet({ type: 0x0a09, payload: hex(bytes) })).toEqual(set);
});

test("every kind of key is in a case above", () => {
  expect(new Set(cases.flatMap(([, { key, data = [] }]) => [...key, ...data]))).toEqual(
    new Set(Object.keys(keys) as Key[]),
  );
});

test("keys side by side begin at whole registers", () => {
  expect(keyLength(["ether_addr"])).toBe(6);
  expect(keyLength(["ether_addr", "ipv4_addr"])).toBe(12);
});

test("a set is found and deleted by name, and listed by table", () => {
  const set = { table: inet, name: "pods" };
  const named = rows(hex(`${head}09 00 02 00 "pods" 00 00 00 00`));
  expect(rows(bodyOf(getSet(set)))).toEqual(named);
  expect(rows(bodyOf(deleteSet(set)))).toEqual(named);
  expect([getSet(set).type, deleteSet(set).type, dumpSets(inet).type]).toEqual([0x0a0a, 0x0a0b, 0x0a0a]);
  expect(rows(bodyOf(dumpSets(inet)))).toEqual(rows(hex('01 00 00 00 0a 00 01 00 "tenon" 00 00 00')));
});
