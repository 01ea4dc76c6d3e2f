#!/usr/bin/env bun
// bridge: a virtual Ethernet pair between the pod and a bridge on the host.
// https://www.cni.dev/plugins/current/main/bridge/
import {
  any,
  bool,
  cidrText,
  config,
  int,
  linkName,
  list,
  mac,
  object,
  oneOf,
  parseArgs,
  string,
} from "../lib/cni/config.ts";
import { delegate } from "../lib/cni/delegate.ts";
import { badConfig, CniError, codes, runAll, transaction } from "../lib/cni/errors.ts";
import { askIpam, chooseDns, ownIps } from "../lib/cni/ipam.ts";
import { main } from "../lib/cni/main.ts";
import type { Part, Plugin, Request } from "../lib/cni/request.ts";
import { containerEnd, dnsConf, type IpConfig, type Result, type RouteConfig, shape } from "../lib/cni/result.ts";
import { firstAddress } from "../lib/ip/address.ts";
import { ensureGatewayLink, gatewayParts, openGateway, sweepGateway } from "../lib/ip/gateway.ts";
import {
  awaitCarrier,
  ensureBridge,
  ensurePort,
  findLink,
  isPort,
  isPromiscuous,
  isUp,
  removeLink,
  setLinkUp,
  theLink,
} from "../lib/ip/link.ts";
import {
  checkMasquerade,
  ensureMasquerade,
  masqueradePart,
  removeMasquerade,
  sweepMasquerade,
} from "../lib/ip/masquerade.ts";
import { assertUnplugged, findPair, labelsOf, namesOf, plugPod, sweepPods, unplugPod } from "../lib/ip/plug.ts";
import { announceMac, assertConfigured, configureInterface, host, inPod } from "../lib/ip/pod.ts";
import {
  hasReferenceMasquerade,
  removeReferenceMasquerade,
  sweepReferenceMasquerade,
} from "../lib/ip/reference-masquerade.ts";
import { hasReferenceSpoofCheck, removeReferenceSpoofCheck } from "../lib/ip/reference-spoof-check.ts";
import { pairPart } from "../lib/ip/replug.ts";
import {
  checkSpoofCheck,
  ensureSpoofCheck,
  removeSpoofCheck,
  spoofCheckPart,
  sweepSpoofCheck,
} from "../lib/ip/spoof-check.ts";
import { plainDeleteWarning } from "../lib/ip/unplug.ts";
import { assertPortVlans, portVlans, setPortVlans } from "../lib/ip/vlan.ts";
import { first, mapped } from "../lib/sys/list.ts";

const vlanId = { min: 1, max: 4094 };

const conf = config({
  bridge: [linkName, { default: "cni0" }, "the bridge; made if there is none"],
  isGateway: [bool, { default: false }, "give the bridge the gateway's address and let the host forward"],
  isDefaultGateway: [bool, { default: false }, "also make it the pod's default route"],
  forceAddress: [bool, { default: false }, "replace another address that the bridge has"],
  ipMasq: [bool, { default: false }, "hide pods behind the host's address when they talk to the outside"],
  ipMasqBackend: [oneOf("nftables", "iptables", ""), "accepted for compatibility: always nftables, through the kernel"],
  masqExempt: [list(cidrText), { default: [] }, "networks that see pods' own addresses: the cluster's pods and nodes"],
  mtu: [int, { min: 0, max: 65535 }, "of the bridge when it is made, and of the pair; 0: the kernel's choice"],
  hairpinMode: [bool, { default: false }, "let a pod reach itself through the bridge"],
  promiscMode: [bool, { default: false }, "set the bridge promiscuous, which also lets a pod reach itself"],
  vlan: [int, { min: 0, max: 4094 }, "VLAN of the pod's untagged frames; the bridge is then made with VLAN filtering"],
  vlanTrunk: [
    list(
      object({
        id: [int, vlanId, "one VLAN"],
        minID: [int, vlanId, "first of several"],
        maxID: [int, vlanId, "last of several"],
      }),
    ),
    "VLANs that reach the pod tagged",
  ],
  preserveDefaultVlan: [bool, { default: false }, "keep VLAN 1 on the port"],
  macspoofchk: [bool, { default: false }, "drop frames from the pod with another source MAC address than its own"],
  portIsolation: [bool, { default: false }, "keep pods of the bridge from each other"],
  enabledad: [bool, { default: false }, "test IPv6 addresses for duplicates, which takes a second"],
  disableContainerInterface: [bool, { default: false }, "leave the pod's end down; without ipam only"],
  ipam: [object({ type: [string, { default: "" }, "plugin that gives the addresses"] }), "address management"],
  dns: [object(dnsConf), "replaces what ipam says of name resolution"],
  runtimeConfig: [object({ mac: [mac, "MAC address of the pod's end"] }), "capabilities"],
  args: [object({ cni: [object({ mac: [mac, "MAC address of the pod's end"] }), "arguments"] }), "arguments"],
  capabilities: [any, "accepted: the runtime's concern"],
});

type BridgeRequest = Request<typeof conf>;

/** All that ADD makes besides the addresses, from the configuration alone. CHECK compares the same. */
function wanted(request: BridgeRequest) {
  const { conf, args } = request;
  if (conf.hairpinMode && conf.promiscMode) {
    throw badConfig("hairpinMode", true, "not together with promiscMode: each lets a pod reach itself");
  }
  if (conf.disableContainerInterface && conf.ipam?.type) {
    throw badConfig(
      "disableContainerInterface",
      true,
      "not together with ipam: an interface that is down has no use for addresses",
    );
  }
  const vlans = portVlans(conf.vlan || undefined, conf.vlanTrunk);
  const named =
    conf.runtimeConfig?.mac ?? conf.args?.cni?.mac ?? mac.read(parseArgs(args, ["MAC"]).MAC ?? "", "CNI_ARGS MAC", {});
  return {
    bridge: {
      name: conf.bridge,
      mtu: conf.mtu || undefined,
      promiscuous: conf.promiscMode,
      settings: conf.vlan || conf.vlanTrunk ? { vlanFiltering: true } : undefined,
    },
    ...namesOf(request),
    port:
      conf.hairpinMode || conf.portIsolation ? { hairpin: conf.hairpinMode, isolated: conf.portIsolation } : undefined,
    vlans,
    keepDefaultVlan: conf.preserveDefaultVlan || !conf.vlan,
    isGateway: conf.isGateway || conf.isDefaultGateway,
    mac: named,
  };
}

/** The addresses that IPAM gave, with gateways and routes as this configuration wants them. */
function addressing(conf: BridgeRequest["conf"], given: Result): { ips: IpConfig[]; routes: RouteConfig[] } {
  const isGateway = conf.isGateway || conf.isDefaultGateway;
  const ips = mapped(given.ips!, ({ address, gateway }) => ({
    interface: 2,
    address,
    gateway: gateway ?? (isGateway ? firstAddress(address) : undefined),
  }));
  const routes = [...(given.routes ?? [])];
  if (conf.isDefaultGateway) {
    for (const { gateway } of ips) {
      const dst = gateway!.includes(":") ? "::/0" : "0.0.0.0/0";
      // One for each family: IPAM's, should it ask for one, which then leads by the first gateway.
      if (!first(routes, (route) => route.dst === dst)) routes.push({ dst, gw: gateway });
    }
  }
  return { ips, routes };
}

function add(request: BridgeRequest): Result {
  const { conf, netns, ifname, network } = request;
  const want = wanted(request);
  if (!conf.ipam?.type) shape({}, request.cniVersion); // a version that cannot say the result is refused here
  return inPod(netns, (pod) =>
    transaction((undo) => {
      assertUnplugged(pod, ifname);
      const given: Result = conf.ipam?.type ? askIpam(request, conf.ipam.type, undo) : {};
      const { ips, routes } = conf.ipam?.type ? addressing(conf, given) : { ips: [], routes: [] };

      const bridge = ensureBridge(host, want.bridge);
      if (want.bridge.settings && !bridge.info?.data?.vlanFiltering) {
        const [key, value] = conf.vlan ? ["vlan", conf.vlan] : ["vlanTrunk", conf.vlanTrunk];
        throw badConfig(key as string, value, `bridge "${conf.bridge}" exists without VLAN filtering`);
      }
      const { hostName, label, mac, port } = want;
      const address = ips[0]?.address;
      const mtu = conf.mtu || undefined;
      const pair = plugPod(pod, { hostName, label, ifname, mtu, mac, address, master: bridge.index, port });
      undo(() => removeLink(host, { name: want.hostName }));
      if (want.vlans.length > 0) setPortVlans(host, pair.host.index, want.vlans, want.keepDefaultVlan);
      if (conf.macspoofchk) {
        const guard = { label: want.label, port: want.hostName, mac: pair.pod.mac! };
        ensureSpoofCheck(host, guard);
        undo(() => removeSpoofCheck(host, guard));
      }

      const interfaces = [
        { name: bridge.name!, mac: bridge.mac, mtu: bridge.mtu },
        { name: want.hostName, mac: pair.host.mac, mtu: pair.host.mtu },
        { name: ifname, mac: pair.pod.mac, mtu: pair.pod.mtu ?? pair.host.mtu, sandbox: netns },
      ];
      if (ips.length > 0) {
        if (want.isGateway) {
          const gateway = ensureGatewayLink(host, bridge, conf);
          if (gateway !== bridge) interfaces.push({ name: gateway.name!, mac: gateway.mac, mtu: gateway.mtu });
          openGateway(host, gateway, ips, conf);
        }
        if (conf.ipMasq) {
          const addresses = mapped(ips, ({ address }) => address);
          ensureMasquerade(host, { network, label: want.label, addresses, exempt: conf.masqExempt });
          undo(() => removeMasquerade(host, { network, label: want.label, addresses }));
        }
        if (mac) announceMac(pod, ifname);
        // Last: from here on the pod speaks, and what it says to all ports of the bridge holds up the kernel.
        configureInterface(pod, { ifname, index: pair.pod.index, ips, routes, duplicateDetection: conf.enabledad });
      } else if (!conf.disableContainerInterface) {
        setLinkUp(pod, pair.pod.index);
      }
      if (!conf.disableContainerInterface) awaitCarrier(host, pair.host, bridge);
      return { interfaces, ips, routes, dns: chooseDns(conf.dns, given.dns) };
    }),
  );
}

function check(request: BridgeRequest): void {
  const { conf, netns, ifname, network, prevResult } = request;
  const want = wanted(request);
  const differs = (what: string) => new CniError(codes.checkFailed, `Cannot use ${what}`);
  if (conf.ipam?.type) delegate(request, conf.ipam.type, "CHECK");
  if (!prevResult) throw badConfig("prevResult", undefined, "CHECK needs the result of ADD");
  const bridge = findLink(host, conf.bridge);
  if (bridge?.info?.kind !== "bridge") throw differs(`bridge "${conf.bridge}": there is no bridge of that name`);
  if (conf.promiscMode && !isPromiscuous(bridge)) throw differs(`bridge "${conf.bridge}": it is not promiscuous`);
  inPod(netns, (pod) => {
    const { inner, outer } = findPair(pod, ifname, containerEnd(prevResult, ifname, netns)?.mac);
    if (isUp(inner) === conf.disableContainerInterface) {
      throw differs(`link "${ifname}": it is ${isUp(inner) ? "up" : "down"}`);
    }
    if (outer.master !== bridge.index) {
      throw differs(`link "${ifname}": its other end is no port of bridge "${conf.bridge}"`);
    }
    if (!isUp(outer)) throw differs(`link "${outer.name}": it is down`);
    if (want.vlans.length > 0) assertPortVlans(host, outer.index, want.vlans);
    const isOurs = outer.name === want.hostName;
    if (conf.macspoofchk && (isOurs || !hasReferenceSpoofCheck(host, request, outer.name!)))
      checkSpoofCheck(host, { label: want.label, port: outer.name!, mac: inner.mac! });
    const mine = ownIps(prevResult, ifname);
    assertConfigured(pod, inner.index, { ips: mine, routes: prevResult.routes });
    const addresses = mine.map(({ address }) => address);
    if (conf.ipMasq && (isOurs || !hasReferenceMasquerade(host, request, addresses)))
      checkMasquerade(host, { network, label: want.label, addresses, exempt: conf.masqExempt });
  });
}

function del(request: BridgeRequest): void {
  const { conf, ifname, network, netns, prevResult } = request;
  const { hostName, label } = namesOf(request);
  const addresses = prevResult?.ips && mapped(prevResult.ips, ({ address }) => address);
  let isOurs = false;
  let isUnplugged = false;
  runAll("DEL", [
    () => {
      // It may have been switched off since; then there is no search, only a look.
      if (conf.ipMasq || addresses) removeMasquerade(host, { network, label, addresses, search: conf.ipMasq });
    },
    () => {
      // With the address of the frame that passes there is nothing to search for.
      const own = containerEnd(prevResult, ifname)?.mac;
      if (conf.macspoofchk) removeSpoofCheck(host, { label, port: hostName, mac: own });
    },
    () => {
      isOurs = unplugPod(hostName, netns, ifname);
      isUnplugged = true;
    },
    () => {
      if (!isOurs) removeReferenceMasquerade(host, request, addresses);
    },
    () => {
      if (!isOurs && conf.macspoofchk) removeReferenceSpoofCheck(host, request);
    },
    // Last: nobody else gets the address while it still answers here.
    () => {
      if (conf.ipam?.type && isUnplugged) delegate(request, conf.ipam.type, "DEL");
    },
  ]);
}

function gc(request: BridgeRequest): void {
  const { conf, network, validAttachments } = request;
  const keep = labelsOf(network, validAttachments!);
  runAll("GC", [
    () => sweepPods({ network, keep }),
    () => sweepGateway(host, conf.bridge, conf),
    () => sweepMasquerade(host, { network, keep }),
    () => sweepReferenceMasquerade(host, network, validAttachments!),
    () => sweepSpoofCheck(host, { network, keep }),
    () => {
      if (conf.ipam?.type) delegate(request, conf.ipam.type, "GC");
    },
  ]);
}

const missing = (what: string) => new CniError(codes.checkFailed, `Cannot find ${what}`);

/** What the attachment has on the host. */
function parts(request: BridgeRequest): Part[] {
  const { conf, network, ifname, prevResult = {} } = request;
  const { bridge, hostName, label, port, vlans, keepDefaultVlan, isGateway } = wanted(request);
  const known = prevResult.interfaces?.find(({ name, sandbox }) => name === bridge.name && !sandbox);
  const ips = ownIps(prevResult, ifname);
  const addresses = ips.map(({ address }) => address);
  const pair = { hostName, label, ifname, mtu: conf.mtu || undefined, result: prevResult };
  const list: Part[] = [
    pairPart(pair, (pod, index) => {
      const routes = prevResult.routes ?? [];
      if (!conf.disableContainerInterface)
        configureInterface(pod, { ifname, index, ips, routes, duplicateDetection: conf.enabledad });
    }),
    {
      kind: "bridge",
      name: bridge.name,
      check: () => {
        const have = theLink(host, bridge.name);
        if (!isUp(have) || (bridge.promiscuous && !isPromiscuous(have)))
          throw missing(`bridge "${bridge.name}" as it was`);
      },
      // With the MAC address that pods know it by.
      ensure: () => ensureBridge(host, { ...bridge, mac: known?.mac }),
    },
    {
      kind: "port",
      name: hostName,
      check: () => {
        const have = theLink(host, hostName);
        if (!isPort(have, theLink(host, bridge.name).index, port)) throw missing(`port "${hostName}" as it was`);
        if (vlans.length > 0) assertPortVlans(host, have.index, vlans);
      },
      ensure: () => {
        const link = theLink(host, hostName);
        ensurePort(host, link, theLink(host, bridge.name).index, port);
        if (vlans.length > 0) setPortVlans(host, link.index, vlans, keepDefaultVlan);
      },
    },
  ];
  if (isGateway) {
    const open = ips.filter(({ gateway }) => gateway !== undefined);
    list.push(...gatewayParts(host, bridge.name, conf, open));
  }
  if (conf.ipMasq && addresses.length > 0) {
    list.push(masqueradePart(host, { network, label, addresses, exempt: conf.masqExempt }));
  }
  const mac = containerEnd(prevResult, ifname)?.mac;
  if (conf.macspoofchk && mac) list.push(spoofCheckPart(host, { label, port: hostName, mac }));
  return list;
}

export const plugin: Plugin<typeof conf> = {
  conf,
  parts,
  add,
  check,
  del,
  gc,
  status: (request) => {
    const warning = plainDeleteWarning();
    if (warning) request.warn(warning);
    if (request.conf.ipam?.type) delegate(request, request.conf.ipam.type, "STATUS");
  },
};

if (import.meta.main) main(plugin);
