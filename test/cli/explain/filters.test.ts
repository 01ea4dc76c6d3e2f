import { expect, test } from "bun:test";
import { foreignVerdict, guardedMac, keptApart, masqueradeOf, publishedAt } from "../../../cli/explain/filters.ts";
import { ensureGuard } from "../../../lib/ip/bridge-guard.ts";
import { ensureMasquerade } from "../../../lib/ip/masquerade.ts";
import { publishPorts } from "../../../lib/ip/publish.ts";
import { ensureSpoofCheck } from "../../../lib/ip/spoof-check.ts";
import { onNode } from "../../helpers/namespace.ts";

test("masquerade by membership and exemption, in both families", async () => {
  await onNode(async ({ ns }) => {
    expect(masqueradeOf(ns, "10.1.0.2", "192.0.2.1").hidden).toBe(false);
    const addresses = ["10.1.0.2/16", "fd00:1::2/64"];
    ensureMasquerade(ns, { network: "net", label: "net/a/eth0", addresses, exempt: ["10.2.0.0/16", "fd00:2::/64"] });
    const hidden = (from: string, to: string) => masqueradeOf(ns, from, to).hidden;
    expect(
      ["192.0.2.1", "10.1.7.7", "10.2.0.0", "10.2.255.255", "10.3.0.0", "9.255.255.255", "224.0.0.5"].map((to) =>
        hidden("10.1.0.2", to),
      ),
    ).toEqual([true, false, false, false, true, true, false]);
    expect(["2001:db8::1", "fd00:1::9", "fd00:2::1", "ff02::1"].map((to) => hidden("fd00:1::2", to))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(hidden("10.1.0.3", "192.0.2.1")).toBe(false);
  });
});

test("bridges kept apart, guarded ports, published ports, and nothing where there is no table", async () => {
  await onNode(async ({ ns }) => {
    expect([keptApart(ns, "a", "b"), guardedMac(ns, "a"), publishedAt(ns, "tcp", "10.0.0.1", 80)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    ensureGuard(ns, { network: "n", bridge: "a", policy: "same-bridge" });
    ensureGuard(ns, { network: "m", bridge: "b", policy: "isolated" });
    expect(keptApart(ns, "a", "a")).toBeUndefined();
    expect(keptApart(ns, "a", "b")).toContain("bridges a and b are kept apart");
    expect(keptApart(ns, "b", "b")).toContain("bridge b is isolated");
    expect(keptApart(ns, "a", "eth0")).toBeUndefined();
    ensureSpoofCheck(ns, { label: "n/a/eth0", port: "tna", mac: "02:00:00:00:00:01" });
    expect([guardedMac(ns, "tna"), guardedMac(ns, "tnb")]).toEqual(["02:00:00:00:00:01", undefined]);
    publishPorts(ns, {
      label: "n/a/eth0",
      name: "tna",
      addresses: ["10.1.0.2/16"],
      mappings: [
        { protocol: "tcp", hostPort: 80, containerPort: 8080 },
        { protocol: "udp", hostPort: 53, containerPort: 5353, hostIp: "192.0.2.1" },
      ],
      hide: "none",
    });
    expect(publishedAt(ns, "tcp", "192.0.2.9", 80)).toMatchObject({ ip: "10.1.0.2", port: 8080, label: "n/a/eth0" });
    expect(publishedAt(ns, "udp", "192.0.2.1", 53)).toMatchObject({ ip: "10.1.0.2", port: 5353 });
    expect(publishedAt(ns, "udp", "192.0.2.2", 53)).toBeUndefined();
    expect(publishedAt(ns, "udp", "192.0.2.1", 80)).toBeUndefined();
  });
});

test("FORWARD of iptables: drops for sure without rules, perhaps with some, not where it accepts", async () => {
  await onNode(async ({ node, ns }) => {
    const verdict = () => foreignVerdict(ns, "10.1.0.2", "10.2.0.2");
    expect(verdict()).toEqual({ doubts: [] });
    await node.exec("iptables", ["-P", "FORWARD", "DROP"]);
    expect(verdict().drops).toContain("chain FORWARD of iptables drops it");
    await node.exec("iptables", ["-A", "FORWARD", "-s", "10.1.0.0/16", "-j", "ACCEPT"]);
    expect([verdict().drops, verdict().doubts.length]).toEqual([undefined, 1]);
    expect(foreignVerdict(ns, "fd00::1", "fd00::2")).toEqual({ doubts: [] });
  });
});
