#!/usr/bin/env bun
// ptp: a virtual Ethernet pair between the pod and the host, without a bridge: the host routes to each pod.
// https://www.cni.dev/plugins/current/main/ptp/
import { any, bool, cidrText, config, int, list, object, oneOf, string } from "../lib/cni/config.ts";
import { delegate } from "../lib/cni/delegate.ts";
import { badConfig, CniError, codes, runAll, transaction } from "../lib/cni/errors.ts";
import { askIpam, chooseDns, ownIps } from "../lib/cni/ipam.ts";
import { main } from "../lib/cni/main.ts";
import type { Part, Plugin, Request } from "../lib/cni/request.ts";
import { containerEnd, dnsConf, type IpConfig, type Result } from "../lib/cni/result.ts";
import { awaitCarrier, isUp, removeLink, setLinkUp, theLink } from "../lib/ip/link.ts";
import {
  checkMasquerade,
  ensureMasquerade,
  masqueradePart,
  removeMasquerade,
  sweepMasquerade,
} from "../lib/ip/masquerade.ts";
import { assertUnplugged, findPair, labelsOf, namesOf, plugPod, sweepPods, unplugPod } from "../lib/ip/plug.ts";
import { assertConfigured, host, inPod } from "../lib/ip/pod.ts";
import { assertHostEnd, assertPodEnd, configureHostEnd, configurePodEnd, type Ip } from "../lib/ip/point-to-point.ts";
import {
  hasReferenceMasquerade,
  removeReferenceMasquerade,
  sweepReferenceMasquerade,
} from "../lib/ip/reference-masquerade.ts";
import { pairPart } from "../lib/ip/replug.ts";
import { assertPath } from "../lib/ip/subnet-route.ts";
import { ensureForwarding } from "../lib/ip/sysctl.ts";
import { plainDeleteWarning } from "../lib/ip/unplug.ts";

const conf = config({
  ipam: [object({ type: [string, { default: "" }, "plugin that gives the addresses"] }), "address management: needed"],
  ipMasq: [bool, { default: false }, "hide pods behind the host's address when they talk to the outside"],
  ipMasqBackend: [oneOf("nftables", "iptables", ""), "accepted for compatibility: always nftables, through the kernel"],
  masqExempt: [list(cidrText), { default: [] }, "networks that see pods' own addresses: the cluster's pods and nodes"],
  mtu: [int, { min: 0, max: 65535 }, "of the pair; 0: the kernel's choice"],
  dns: [object(dnsConf), "replaces what ipam says of name resolution"],
  capabilities: [any, "accepted: the runtime's concern"],
});

type PtpRequest = Request<typeof conf>;

function ipamType({ conf }: PtpRequest): string {
  if (!conf.ipam?.type) throw badConfig("ipam.type", conf.ipam?.type, "there must be a plugin that gives addresses");
  return conf.ipam.type;
}

/** The addresses, each with a gateway: that is who the host's end of the pair is. */
function wantedIps(ips: readonly IpConfig[], key: string): Ip[] {
  return ips.map(({ address, gateway }) => {
    if (gateway === undefined) throw badConfig(key, address, "it has no gateway, which the host's end is to be");
    return { interface: 1, address, gateway };
  });
}

function add(request: PtpRequest): Result {
  const { conf, netns, ifname, network } = request;
  const { hostName, label } = namesOf(request);
  const type = ipamType(request);
  return inPod(netns, (pod) =>
    transaction((undo) => {
      assertUnplugged(pod, ifname);
      const given = askIpam(request, type, undo);
      const ips = wantedIps(given.ips, `the address that ipam.type "${type}" gave`);
      const routes = given.routes ?? [];

      const pair = plugPod(pod, { hostName, label, ifname, mtu: conf.mtu || undefined, address: ips[0]!.address });
      undo(() => removeLink(host, { name: hostName }));
      configureHostEnd(host, { name: hostName, index: pair.host.index }, ips, network);
      configurePodEnd(pod, { ifname, index: pair.pod.index, ips, routes });
      awaitCarrier(host, pair.host);
      for (const { gateway } of ips) ensureForwarding(host, gateway.includes(":") ? 6 : 4);
      if (conf.ipMasq) {
        const addresses = ips.map(({ address }) => address);
        ensureMasquerade(host, { network, label, addresses, exempt: conf.masqExempt });
        undo(() => removeMasquerade(host, { network, label, addresses }));
      }
      const interfaces = [
        { name: hostName, mac: pair.host.mac, mtu: pair.host.mtu },
        { name: ifname, mac: pair.pod.mac, mtu: pair.pod.mtu ?? pair.host.mtu, sandbox: netns },
      ];
      return { interfaces, ips, routes, dns: chooseDns(conf.dns, given.dns) };
    }),
  );
}

function check(request: PtpRequest): void {
  const { conf, netns, ifname, network, prevResult } = request;
  const { hostName, label } = namesOf(request);
  const differs = (what: string) => new CniError(codes.checkFailed, `Cannot use ${what}`);
  delegate(request, ipamType(request), "CHECK");
  if (!prevResult) throw badConfig("prevResult", undefined, "CHECK needs the result of ADD");
  const mine = ownIps(prevResult, ifname);
  inPod(netns, (pod) => {
    const { inner, outer } = findPair(pod, ifname, containerEnd(prevResult, ifname, netns)?.mac);
    if (!isUp(inner)) throw differs(`link "${ifname}": it is down`);
    if (!isUp(outer)) throw differs(`link "${outer.name}": it is down`);
    assertConfigured(pod, inner.index, { ips: mine, routes: prevResult.routes });
    // What has no gateway is a later plugin's.
    const ips = wantedIps(
      mine.filter(({ gateway }) => gateway !== undefined),
      "prevResult.ips",
    );
    assertPodEnd(pod, inner.index, ips);
    assertHostEnd(host, outer.index, ips);
    const addresses = ips.map(({ address }) => address);
    const isOurs = outer.name === hostName;
    if (conf.ipMasq && (isOurs || !hasReferenceMasquerade(host, request, addresses)))
      checkMasquerade(host, { network, label, addresses, exempt: conf.masqExempt });
  });
}

function del(request: PtpRequest): void {
  const { conf, ifname, network, netns, prevResult } = request;
  const { hostName, label } = namesOf(request);
  const addresses = prevResult?.ips?.map(({ address }) => address);
  let isOurs = false;
  let isUnplugged = false;
  runAll("DEL", [
    () => {
      // It may have been switched off since; then there is no search, only a look.
      if (conf.ipMasq || addresses) removeMasquerade(host, { network, label, addresses, search: conf.ipMasq });
    },
    () => {
      isOurs = unplugPod(hostName, netns, ifname);
      isUnplugged = true;
    },
    () => {
      if (!isOurs) removeReferenceMasquerade(host, request, addresses);
    },
    // Last: nobody else gets the address while it still answers here.
    () => {
      if (conf.ipam?.type && isUnplugged) delegate(request, conf.ipam.type, "DEL");
    },
  ]);
}

function gc(request: PtpRequest): void {
  const { conf, network, validAttachments } = request;
  const keep = labelsOf(network, validAttachments!);
  runAll("GC", [
    () => sweepPods({ network, keep }),
    () => sweepMasquerade(host, { network, keep }),
    () => sweepReferenceMasquerade(host, network, validAttachments!),
    () => {
      if (conf.ipam?.type) delegate(request, conf.ipam.type, "GC");
    },
  ]);
}

/** What the attachment has on the host. */
function parts(request: PtpRequest): Part[] {
  const { conf, ifname, network, prevResult = {} } = request;
  const { hostName, label } = namesOf(request);
  const outer = () => theLink(host, hostName);
  const ips = wantedIps(
    ownIps(prevResult, ifname).filter(({ gateway }) => gateway !== undefined),
    "prevResult.ips",
  );
  const pair = { hostName, label, ifname, mtu: conf.mtu || undefined, result: prevResult };
  const list: Part[] = [
    pairPart(pair, (pod, index) => configurePodEnd(pod, { ifname, index, ips, routes: prevResult.routes ?? [] })),
    {
      kind: "link",
      name: `${hostName}, up`,
      check: () => {
        if (!isUp(outer())) throw new CniError(codes.checkFailed, `Cannot use link "${hostName}": it is down`);
      },
      ensure: () => setLinkUp(host, outer().index),
    },
    {
      kind: "route",
      name: `to ${ips.map(({ address }) => address.split("/")[0]).join(", ")} by ${hostName}`,
      check: () => {
        const { index } = outer();
        assertHostEnd(host, index, ips);
        for (const { address } of ips) assertPath(host, index, address);
      },
      ensure: () => {
        configureHostEnd(host, { name: hostName, index: outer().index }, ips, network);
        for (const { gateway } of ips) ensureForwarding(host, gateway.includes(":") ? 6 : 4);
      },
    },
  ];
  if (conf.ipMasq) {
    const addresses = ips.map(({ address }) => address);
    list.push(masqueradePart(host, { network, label, addresses, exempt: conf.masqExempt }));
  }
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
    delegate(request, ipamType(request), "STATUS");
  },
};

if (import.meta.main) main(plugin);
