#!/usr/bin/env bun
// routes: plain routes to the pods of other nodes, without a tunnel; chained after the plugin that makes the interface.
// https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html
import { badConfig, CniError, codes } from "../lib/cni/errors.ts";
import { main } from "../lib/cni/main.ts";
import type { Plugin, Request } from "../lib/cni/request.ts";
import type { Result } from "../lib/cni/result.ts";
import { host, inPod } from "../lib/ip/pod.ts";
import { assertMtu, lowerMtu, mtuPart } from "../lib/ip/pod-mtu.ts";
import { assertAsProgrammed, assertPaths } from "../lib/peers/compare.ts";
import { plainPaths, routesConf } from "../lib/peers/conf.ts";
import { ensureProgrammed, repairIfAny } from "../lib/peers/network.ts";
import { readStamp } from "../lib/peers/stamp.ts";

type RoutesRequest = Request<typeof routesConf>;

/** What DEL leaves, GC mends and everything else stands on: the paths of the whole network, not of one pod. */
const wanted = ({ network, conf }: RoutesRequest) => plainPaths(network, conf);

function add(request: RoutesRequest): Result {
  const { prevResult, conf, netns } = request;
  if (!prevResult) throw badConfig("prevResult", undefined, "routes comes after the plugin that makes the interface");
  inPod(netns, () => undefined); // whoever leads the way to a pod that is gone has mistaken something
  const { device, problems, fresh } = ensureProgrammed(host, wanted(request));
  if (conf.offSubnet === "refuse" && problems.length > 0) {
    throw new CniError(codes.systemFailure, problems[0]!, { details: problems.slice(1, 20).join("; ") || undefined });
  }
  if (fresh) problems.forEach(request.warn);
  return device ? lowerMtu(host, request, prevResult, device.mtu) : prevResult;
}

function check(request: RoutesRequest): void {
  if (!request.prevResult) throw badConfig("prevResult", undefined, "CHECK needs the result of ADD");
  const { device } = assertAsProgrammed(host, wanted(request));
  if (device) assertMtu(request, device.mtu);
}

export const plugin: Plugin<typeof routesConf> = {
  conf: routesConf,
  add,
  check,
  parts: (request) => [mtuPart(request, () => readStamp(wanted(request))?.device?.mtu)],
  del: () => {}, // the routes are the node's, not the pod's
  gc: (request) => repairIfAny(host, wanted(request)),
  status: (request) => assertPaths(host, wanted(request)).forEach(request.warn),
};

if (import.meta.main) main(plugin);
