#!/usr/bin/env bun
// loopback: sets the container's "lo" up.
// https://www.cni.dev/plugins/current/main/loopback/
import { config } from "../lib/cni/config.ts";
import { CniError, codes } from "../lib/cni/errors.ts";
import { main } from "../lib/cni/main.ts";
import type { Plugin, Request } from "../lib/cni/request.ts";
import { listAddresses } from "../lib/ip/address.ts";
import { findLink, isUp, type Link, setLinkUp } from "../lib/ip/link.ts";
import { inPod, inPodIfAny, type Namespace } from "../lib/ip/pod.ts";

const conf = config({});

function loopback(pod: Namespace): Link {
  const link = findLink(pod, "lo");
  if (!link) throw new CniError(codes.systemFailure, `Cannot find link "lo" in network namespace "${pod.path}"`);
  return link;
}

function add(request: Request<typeof conf>) {
  const { netns, prevResult } = request;
  return inPod(netns, (pod) => {
    const { index } = loopback(pod);
    setLinkUp(pod, index);
    if (prevResult) return prevResult;
    const ips = listAddresses(pod, index).map(({ ip, prefix }) => ({ interface: 0, address: `${ip}/${prefix}` }));
    return { interfaces: [{ name: "lo", mac: "00:00:00:00:00:00", sandbox: netns }], ips };
  });
}

export const plugin: Plugin<typeof conf> = {
  conf,
  add,
  check: ({ netns }) =>
    inPod(netns, (pod) => {
      if (!isUp(loopback(pod))) throw new CniError(codes.checkFailed, 'Cannot use link "lo": it is down');
    }),
  del: ({ netns }) => inPodIfAny(netns, (pod) => setLinkUp(pod, loopback(pod).index, false)),
};

if (import.meta.main) main(plugin);
