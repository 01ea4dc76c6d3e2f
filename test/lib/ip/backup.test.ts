import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import {
  type Backup,
  namespaceId,
  readBackup,
  removeBackup,
  sweepBackups,
  writeBackup,
} from "../../../lib/ip/backup.ts";
import { host } from "../../../lib/netns/netns.ts";

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "backup-")), "tuning");
});
afterEach(() => rmSync(join(folder, ".."), { recursive: true }));

const c1 = { containerId: "c1", ifname: "eth0" };
const tenon = { network: "net", namespace: "4026532000", promisc: false };
const all = { mac: "c6:7b:46:a2:31:2b", promisc: false, mtu: 1500, allmulti: false, txQLen: 1000 };

test("the text is the reference's, with our key after its own", () => {
  writeBackup(folder, c1, all);
  const path = join(folder, "c1_eth0.json");
  const lines = [
    '"mac": "c6:7b:46:a2:31:2b"',
    '"promisc": false',
    '"mtu": 1500',
    '"allmulti": false',
    '"txQLen": 1000',
  ];
  expect(readFileSync(path, "utf8")).toBe(`{\n ${lines.join(",\n ")}\n}`);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  writeBackup(folder, c1, { mtu: 1400, tenon: { ...tenon, sysctl: { "ipv4/a": "1" } } });
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ mtu: 1400, tenon: { ...tenon, sysctl: { "ipv4/a": "1" } } });
  expect(readdirSync(folder)).toEqual(["c1_eth0.json"]);
});

test("what was written is read; zero and false are values", () => {
  for (const backup of [
    all,
    { allmulti: false },
    { txQLen: 0 },
    { mtu: 1400, tenon: { ...tenon, sysctl: { a: "" } } },
  ]) {
    writeBackup(folder, c1, backup);
    expect(JSON.parse(JSON.stringify(readBackup(folder, c1)))).toEqual(backup);
  }
  removeBackup(folder, c1);
  removeBackup(folder, c1);
  expect(readBackup(folder, c1)).toBeUndefined();
});

test("any text reads as a backup with sound values, or as none", () => {
  writeBackup(folder, c1, {});
  const texts = fc.oneof(
    fc.string(),
    fc.jsonValue().map((value) => JSON.stringify(value)),
    fc
      .record({ mac: fc.jsonValue(), mtu: fc.jsonValue(), promisc: fc.jsonValue(), tenon: fc.jsonValue() })
      .map((value) => JSON.stringify(value)),
    fc
      .record({ network: fc.constantFrom<unknown>("net", 1), namespace: fc.constant("1"), sysctl: fc.jsonValue() })
      .map((tenon) => JSON.stringify({ tenon })),
  );
  fc.assert(
    fc.property(texts, (text) => {
      writeFileSync(join(folder, "c1_eth0.json"), text);
      const { mac, mtu, promisc, tenon }: Backup = readBackup(folder, c1) ?? {};
      expect(["string", "undefined"]).toContain(typeof mac);
      expect(["number", "undefined"]).toContain(typeof mtu);
      expect(["boolean", "undefined"]).toContain(typeof promisc);
      if (tenon) expect(tenon.network).toBeString();
      for (const value of Object.values(tenon?.sysctl ?? {})) expect(value).toBeString();
    }),
  );
});

describe("sweeping", () => {
  const put = (name: string, network?: string) => {
    const text = JSON.stringify({ mtu: 1500, tenon: network && { ...tenon, network } });
    writeFileSync(join(folder, name), text);
  };

  test("removes what belongs to dead attachments of the network, and nothing else", () => {
    writeBackup(folder, { containerId: "dead", ifname: "eth0" }, { mtu: 1500, tenon });
    put("alive_eth0.json", "net");
    put("alive_eth1.json", "net");
    put("a_b_eth_0.json", "net");
    put("other_eth0.json", "other");
    put("reference_eth0.json");
    put(".dead_eth0.json", "net");
    put(".other_eth0.json", "other");
    writeFileSync(join(folder, ".half_eth0.json"), '{ "mt');
    writeFileSync(join(folder, "cut_eth0.json"), "");
    writeFileSync(join(folder, "notes"), "");
    const keep = [
      { containerId: "alive", ifname: "eth0" },
      { containerId: "a_b", ifname: "eth_0" },
    ];
    sweepBackups(folder, "net", keep);
    expect(readdirSync(folder).sort()).toEqual([
      ".other_eth0.json",
      "a_b_eth_0.json",
      "alive_eth0.json",
      "cut_eth0.json",
      "notes",
      "other_eth0.json",
      "reference_eth0.json",
    ]);
  });

  test("a folder that is not there is fine", () => {
    sweepBackups(folder, "net", []);
    sweepBackups("/etc/hostname/none", "net", []);
    expect(existsSync(folder)).toBe(false);
  });
});

test("a folder that cannot be written is an error that names the file", () => {
  writeFileSync(join(folder, "..", "file"), "");
  chmodSync(join(folder, "..", "file"), 0o600);
  expect(() => writeBackup(join(folder, "..", "file"), c1, all)).toThrow("file");
});

test("a namespace is told from others by its inode", () => {
  expect(namespaceId(host)).toBe(`${statSync("/proc/self/ns/net").ino}`);
});
