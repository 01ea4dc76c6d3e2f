#!/usr/bin/env bun
// vxlan: a tunnel to the pods of other nodes; chained after the plugin that makes the interface.
// https://www.kernel.org/doc/html/latest/networking/vxlan.html
import { badConfig, CniError, codes } from "../lib/cni/errors.ts";
import { main } from "../lib/cni/main.ts";
import type { Plugin, Request } from "../lib/cni/request.ts";
import type { Result } from "../lib/cni/result.ts";
import { host } from "../lib/ip/pod.ts";
import { assertMtu, lowerMtu, mtuPart } from "../lib/ip/pod-mtu.ts";
import { assertAsProgrammed, assertPaths } from "../lib/peers/compare.ts";
import { overlayPaths, vxlanConf } from "../lib/peers/conf.ts";
import { ensureProgrammed, repairIfAny } from "../lib/peers/network.ts";
import { readStamp } from "../lib/peers/stamp.ts";

type VxlanRequest = Request<typeof vxlanConf>;

/** What DEL leaves, GC mends and everything else stands on: the paths of the whole network, not of one pod. */
const wanted = ({ network, conf }: VxlanRequest) => overlayPaths(network, conf);

function add(request: VxlanRequest): Result {
  const { prevResult } = request;
  if (!prevResult) throw badConfig("prevResult", undefined, "vxlan comes after the plugin that makes the interface");
  const { device, problems, fresh } = ensureProgrammed(host, wanted(request));
  if (fresh) problems.forEach(request.warn);
  return lowerMtu(host, request, prevResult, device!.mtu);
}

function check(request: VxlanRequest): void {
  if (!request.prevResult) throw badConfig("prevResult", undefined, "CHECK needs the result of ADD");
  const { device } = assertAsProgrammed(host, wanted(request));
  if (!device) throw new CniError(codes.checkFailed, "Cannot find the tunnel: no ADD has made it since the last boot");
  assertMtu(request, device.mtu);
}

export const plugin: Plugin<typeof vxlanConf> = {
  conf: vxlanConf,
  add,
  check,
  parts: (request) => [mtuPart(request, () => readStamp(wanted(request))?.device?.mtu)],
  del: () => {}, // the tunnel is the node's, not the pod's
  gc: (request) => repairIfAny(host, wanted(request)),
  status: (request) => assertPaths(host, wanted(request)).forEach(request.warn),
};

if (import.meta.main) main(plugin);
