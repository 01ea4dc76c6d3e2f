import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CniError } from "../../../lib/cni/errors.ts";
import { assertAllowed } from "../../../lib/ip/allowlist.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "allow-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function verdict(lines: string, ...names: string[]): string {
  const path = join(folder, "allowlist.conf");
  writeFileSync(path, lines);
  try {
    assertAllowed(names, path);
    return "allowed";
  } catch (error) {
    expect(error).toBeInstanceOf(CniError);
    return (error as CniError).message.replaceAll(path, "FILE");
  }
}

test("without the file everything is allowed, with an empty one nothing", () => {
  assertAllowed(["net.ipv4.ip_forward"], join(folder, "none"));
  expect(verdict("\n \n", "net.ipv4.ip_forward")).toContain("net.ipv4.ip_forward");
});

test.each<[lines: string, name: string, verdict: boolean]>([
  ["^net\\.ipv4\\.", "net.ipv4.ip_forward", true],
  ["^net\\.ipv4\\.", "net.ipv6.conf.all.forwarding", false],
  ["  arp_filter\r\n^net.ipv6", "net.ipv4.conf.IFNAME.arp_filter", true],
  ["^net.ipv4.conf.IFNAME.[a-z_]*$", "net.ipv4.conf.IFNAME.arp_filter", true],
  ["^net.ipv4.conf.IFNAME.[a-z_]*$", "net.ipv4.conf.all.arp_filter", false],
  ["(?i)^NET\\.", "net.core.somaxconn", true],
  ["^NET\\.", "net.core.somaxconn", false],
  ["(?:ipv4|ipv6)\\.conf\\b", "net.ipv6.conf.all.mtu", true],
])("%j on %s: %p", (lines, name, allowed) => {
  expect(verdict(lines, name) === "allowed").toBe(allowed);
});

test("every name must be allowed, and the one that is not is named", () => {
  expect(verdict("ipv4", "net.ipv4.a", "net.ipv6.b")).toBe('Cannot use sysctl "net.ipv6.b": no line of FILE allows it');
});

// Read by Go each of these means something else than to us, or nothing.
test.each([
  "\\Anet",
  "net\\z",
  "\\Qnet.\\E",
  "\\pL",
  "[[:alpha:]]",
  "[^[:alpha:]]",
  "[a[:alpha:]]",
  "(?=net)",
  "(?P<a>net)",
  "(?s:.)",
  "(net)\\1",
  "\\x{6e}",
  "net(",
])("%s is refused by name, not read another way", (line) => {
  expect(verdict(`${line}\n.*`, "net.ipv4.a")).toContain(JSON.stringify(line));
});
