import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseResolvConf, readResolvConf } from "../../../lib/ipam/resolv-conf.ts";

test("resolv.conf: servers, search and options add up, the last domain counts, comments do not", () => {
  const text = `
    # nameserver 192.0.2.9
    ; domain none
    nameserver 192.0.2.1
    nameserver\t2001:db8::1   extra
    domain first.example
    search a.example b.example
    domain second.example
    search c.example
    options ndots:5
    options  rotate  timeout:1
    nameserver
    sortlist 192.0.2.0/24`;
  expect(parseResolvConf(text)).toEqual({
    nameservers: ["192.0.2.1", "2001:db8::1"],
    domain: "second.example",
    search: ["a.example", "b.example", "c.example"],
    options: ["ndots:5", "rotate", "timeout:1"],
  });
  expect(parseResolvConf("")).toEqual({ nameservers: [], domain: undefined, search: [], options: [] });
});

test("resolv.conf is read from a file, which must be there", () => {
  const folder = mkdtempSync(join(tmpdir(), "resolv-"));
  const path = join(folder, "resolv.conf");
  const refusal = `Cannot use ipam.resolvConf "${path}": no such file or directory`;
  expect(() => readResolvConf(path, "ipam.resolvConf")).toThrow(refusal);
  writeFileSync(path, "nameserver 192.0.2.1\r\n");
  expect(readResolvConf(path, "x").nameservers).toEqual(["192.0.2.1"]);
  rmSync(folder, { recursive: true });
});
