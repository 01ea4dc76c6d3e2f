#!/usr/bin/env bun
// firewall: lets pods' packets through the host, and keeps bridges apart; chained after the plugin that makes the interface.
// https://www.cni.dev/plugins/current/meta/firewall/
import { config, later, oneOf, string, type Type } from "../lib/cni/config.ts";
import { badConfig, CniError, codes, runAll, transaction } from "../lib/cni/errors.ts";
import { labelOf } from "../lib/cni/identity.ts";
import { main } from "../lib/cni/main.ts";
import type { Part, Plugin, Request } from "../lib/cni/request.ts";
import type { Result } from "../lib/cni/result.ts";
import { type BridgeGuard, checkGuard, ensureGuard, sweepGuards } from "../lib/ip/bridge-guard.ts";
import { droppingChains, hasFirewalld } from "../lib/ip/foreign-filter.ts";
import {
  acceptedOf,
  checkAccepted,
  clearFilter,
  ensureAccepted,
  notFound,
  removeAccepted,
  staleOf,
  sweepAccepted,
} from "../lib/ip/forward-filter.ts";
import {
  acceptInIptables,
  checkInIptables,
  type Family,
  families,
  forwardDrops,
  hasReferenceGuard,
  ofFamily,
  removalsFromIptables,
  removeFromIptables,
} from "../lib/ip/iptables.ts";
import {
  acceptInLegacy,
  checkInLegacy,
  hasInLegacy,
  hasLegacyFilter,
  hasLegacyGuard,
  legacyDrops,
  removeFromLegacy,
} from "../lib/ip/legacy-iptables.ts";
import { host, inPod } from "../lib/ip/pod.ts";
import { releaseLater } from "../lib/ip/release.ts";
import { readSysctl } from "../lib/ip/sysctl.ts";
import { mapped, unique } from "../lib/sys/list.ts";

/** The name of a chain as iptables takes it: XT_EXTENSION_MAXNAMELEN is 29. */
const chainName: Type<string> = {
  schema: { type: "string", pattern: "^([A-Za-z0-9_.][A-Za-z0-9_.:-]{0,27})?$" },
  read(value, key) {
    const text = string.read(value, key, {});
    if (text !== "" && !/^[A-Za-z0-9_.][A-Za-z0-9_.:-]{0,27}$/.test(text))
      throw badConfig(key, value, "must be a chain's name: 1 to 28 letters, digits, _, ., : and -");
    return text;
  },
};

const conf = config({
  backend: [
    later(oneOf("", "nftables", "iptables", "firewalld")),
    "where pods are let through: nftables, which is the default, and iptables too if its FORWARD chain drops; iptables, there in any case; firewalld is refused",
  ],
  ingressPolicy: [
    later(oneOf("", "open", "same-bridge", "isolated")),
    "open, the default: nothing is kept apart; same-bridge: pods do not reach those of other bridges with a policy; isolated: nor those of their own",
  ],
  iptablesAdminChainName: [
    later(chainName),
    "chain of the administrator, looked at before pods are let through, in the tables of iptables; default CNI-ADMIN",
  ],
  firewalldZone: [string, "accepted for compatibility"],
});

type FirewallRequest = Request<typeof conf>;

/** What ADD makes of the configuration and the result before it. CHECK compares the same. */
function wanted({ conf, containerId, ifname, network, prevResult, verb }: FirewallRequest) {
  const backend = conf.backend?.() || "nftables";
  const policy = conf.ingressPolicy?.() || "open";
  if (backend === "firewalld") throw badConfig("backend", backend, firewalldHint, codes.unsupportedField);
  if (!prevResult) {
    throw badConfig("prevResult", undefined, `${verb} needs the result of a plugin before this one in the list`);
  }
  return {
    backend,
    label: labelOf(network, containerId, ifname),
    addresses: unique(mapped(prevResult.ips ?? [], ({ address }) => address.split("/")[0]!)),
    admin: conf.iptablesAdminChainName?.() || "CNI-ADMIN",
    guard: policy === "open" ? undefined : guardOf(network, policy, prevResult),
  };
}

const firewalldHint =
  "rules are put into nftables, not through firewalld; leave it out, and trust the pods' networks there: firewall-cmd --permanent --zone=trusted --add-source=NETWORK";

function guardOf(network: string, policy: BridgeGuard["policy"], { interfaces = [] }: Result): BridgeGuard {
  const bridge = interfaces[0]?.name ?? "";
  if (bridge === "" || new TextEncoder().encode(bridge).length > 15) {
    throw badConfig(
      "prevResult.interfaces[0].name",
      bridge,
      `ingressPolicy "${policy}" needs the name of a bridge there`,
    );
  }
  return { network, policy, bridge };
}

/** What is let through elsewhere than in our own table: addresses in iptables' filters, families in those of its legacy kind. */
function elsewhere({ backend, addresses }: ReturnType<typeof wanted>): { nft: string[]; legacy: Family[] } {
  const nft: string[] = [];
  const legacy: Family[] = [];
  for (const family of families) {
    const own = ofFamily(addresses, family);
    if (own.length === 0) continue;
    const always = backend === "iptables";
    const isLegacy = always ? hasLegacyFilter(host, family) : legacyDrops(host, family);
    if (isLegacy) legacy.push(family);
    if (forwardDrops(host, family) || (always && !isLegacy)) nft.push(...own);
  }
  return { nft, legacy };
}

function add(request: FirewallRequest): Result {
  const want = wanted(request);
  const { addresses, admin, guard } = want;
  return inPod(request.netns, () =>
    transaction((undo) => {
      undo(() => {
        removeFromIptables(host, addresses);
        removeFromLegacy(host, addresses);
        removeAccepted(host, want);
      });
      ensureAccepted(host, want);
      const { nft, legacy } = elsewhere(want);
      if (nft.length > 0) acceptInIptables(host, nft, admin);
      if (legacy.length > 0) acceptInLegacy(addresses, admin, legacy);
      if (guard) {
        ensureGuard(host, guard);
        warnOfFrames(request, guard.policy);
      }
      return request.prevResult!;
    }),
  );
}

/** Frames from port to port of a bridge are the bridge's own affair, unless br_netfilter shows them to the host's filter. */
function warnOfFrames({ warn }: FirewallRequest, policy: string): void {
  if (policy === "isolated" && readSysctl(host, "bridge/bridge-nf-call-iptables") !== "1") {
    warn(
      'ingressPolicy "isolated" does not keep pods of one bridge apart while net.bridge.bridge-nf-call-iptables is not 1; portIsolation of the plugin bridge does',
    );
  }
}

function check(request: FirewallRequest): void {
  const want = wanted(request);
  const { addresses, guard } = want;
  inPod(request.netns, () => {
    const { nft, legacy } = elsewhere(want);
    if (checkAccepted(host, want) === "none") {
      assertReferences(addresses);
      if (guard && (hasReferenceGuard(host) || hasLegacyGuard(host))) return;
    } else checkInIptables(host, nft);
    checkInLegacy(addresses, legacy);
    if (guard) checkGuard(host, guard);
  });
}

/** Attachments that the reference made before this suite took its place are in iptables alone. */
function assertReferences(addresses: readonly string[]): void {
  try {
    checkInIptables(host, addresses);
  } catch {
    // Nor any rule of the reference, in either kind of iptables.
    if (!hasInLegacy(host, addresses)) throw notFound(`accepted address ${addresses[0]}`);
  }
}

/** What the attachment has on the host. */
function parts(request: FirewallRequest): Part[] {
  const want = wanted(request);
  const { addresses, admin, guard, label } = want;
  const list: Part[] = [
    {
      kind: "firewall",
      name: label,
      check: () => {
        const { nft, legacy } = elsewhere(want);
        if (checkAccepted(host, want) === "none") throw notFound(`accepted address ${addresses[0]}`);
        checkInIptables(host, nft);
        checkInLegacy(addresses, legacy);
      },
      ensure: (whole) => {
        ensureAccepted(host, want, whole);
        const { nft, legacy } = elsewhere(want);
        if (nft.length > 0) acceptInIptables(host, nft, admin);
        if (legacy.length > 0) acceptInLegacy(addresses, admin, legacy);
      },
    },
  ];
  if (guard) {
    const name = `${guard.policy} of ${guard.bridge}`;
    list.push({ kind: "firewall", name, check: () => checkGuard(host, guard), ensure: () => ensureGuard(host, guard) });
  }
  return list;
}

function del({ containerId, ifname, network, prevResult, warn }: FirewallRequest): void {
  const label = labelOf(network, containerId, ifname);
  const hints = mapped(prevResult?.ips ?? [], ({ address }) => address);
  const addresses = acceptedOf(host, label, hints.length > 0 ? hints : undefined);
  if (addresses.length === 0) return;
  try {
    removeFromLegacy(host, addresses);
  } catch (error) {
    // A filter that cannot be changed is no reason to keep a pod from its end: GC, which knows the label, tries again.
    warn((error as Error).message);
    removeFromIptables(host, addresses);
    return;
  }
  // Whose the addresses are stands in our own table: it is forgotten together with the last rule.
  removeAccepted(host, { label, addresses }, (connection) => removalsFromIptables(connection, addresses));
  releaseLater(host);
}

function gc({ conf, network, validAttachments }: FirewallRequest): void {
  const keep = new Set(validAttachments!.map(({ containerId, ifname }) => labelOf(network, containerId, ifname)));
  const { addresses, living } = staleOf(host, network, keep);
  runAll("GC", [
    () => {
      removeFromIptables(host, addresses);
      removeFromLegacy(host, addresses);
      sweepAccepted(host, network, keep);
    },
    () => {
      const policy = conf.ingressPolicy?.() || "open";
      if (!living || policy === "open") sweepGuards(host, network);
    },
    () => clearFilter(host),
  ]);
}

function status(request: FirewallRequest): void {
  const { conf, warn } = request;
  const unavailable = (reason: string) => new CniError(codes.unavailable, reason);
  if (conf.backend?.() === "firewalld") throw unavailable(`Cannot use backend "firewalld": ${firewalldHint}`);
  let dropping: string[];
  try {
    dropping = droppingChains(host);
  } catch (error) {
    throw unavailable(`Cannot use nftables: ${(error as Error).message}`);
  }
  if (hasFirewalld(host)) {
    warn(
      "firewalld runs here, and rejects what its zones do not know: trust the pods' networks, firewall-cmd --permanent --zone=trusted --add-source=NETWORK",
    );
  }
  for (const chain of dropping) {
    warn(`${chain} drops what its own rules do not accept: nothing that another table accepts gets past it`);
  }
  warnOfFrames(request, conf.ingressPolicy?.() ?? "");
}

export const plugin: Plugin<typeof conf> = {
  conf,
  versions: ["0.4.0", "1.0.0", "1.1.0"],
  parts,
  add,
  check,
  del,
  gc,
  status,
};

if (import.meta.main) main(plugin);
