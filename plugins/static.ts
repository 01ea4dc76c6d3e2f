#!/usr/bin/env bun
// static: the addresses that the configuration or the runtime names. Keeps no state.
// https://www.cni.dev/plugins/current/ipam/static/
import { cidrText, config, ip, later, list, object, parseArgs } from "../lib/cni/config.ts";
import { badConfig, CniError, codes } from "../lib/cni/errors.ts";
import { main } from "../lib/cni/main.ts";
import type { Plugin, Request } from "../lib/cni/request.ts";
import { assertOnePerFamily, dnsConf, type IpConfig, type Result, routeConf } from "../lib/cni/result.ts";
import { isInSubnet } from "../lib/ip/address.ts";

const addressConf = config({
  address: [cidrText, { required: true }, "address with the length of its network's prefix"],
  gateway: [ip, "next hop of its routes"],
});

const ipam = config({
  addresses: [list(object(addressConf)), { default: [] }, "addresses for the result"],
  routes: [list(object(routeConf)), { default: [] }, "routes for the result"],
  dns: [object(dnsConf), "name resolution for the result"],
});

const ips = list(cidrText);
const conf = config({
  ipam: [later(object(ipam)), "this plugin's part of a network configuration"],
  runtimeConfig: [later(object({ ips: [ips, { default: [] }, "addresses instead of all others"] })), "capabilities"],
  args: [
    later(
      object({
        cni: [
          object({ ips: [ips, { default: [] }, "addresses instead of the configured ones and those of CNI_ARGS"] }),
          "arguments",
        ],
      }),
    ),
    "arguments",
  ],
});

type StaticRequest = Request<typeof conf>;

/** The addresses by order of precedence: the runtime's, the arguments', else the configured ones and CNI_ARGS'. */
function wantedIps({ conf, args }: StaticRequest, configured: IpConfig[]): IpConfig[] {
  const { IP = "", GATEWAY = "" } = parseArgs(args, ["IP", "GATEWAY"]);
  const gateways = split(GATEWAY).map((text) => {
    const gateway = ip.read(text, "CNI_ARGS GATEWAY", {});
    if (gateway === undefined) throw badConfig("CNI_ARGS GATEWAY", GATEWAY, "must be IP addresses with commas between");
    return gateway;
  });
  const named = split(IP)
    .map((text) => cidrText.read(text, "CNI_ARGS IP", {}))
    // As with the reference, a gateway of CNI_ARGS is for addresses of CNI_ARGS; the last one that fits counts.
    .map((address) => ({ address, gateway: gateways.findLast((gateway) => isInSubnet(address, gateway)) }));
  for (const replacing of [conf.runtimeConfig?.().ips ?? [], conf.args?.().cni?.ips ?? []]) {
    if (replacing.length > 0) return replacing.map((address) => ({ address }));
  }
  return [...configured, ...named];
}

const split = (text: string): string[] => (text === "" ? [] : text.split(",").map((part) => part.trim()));

/** All of the result, from the request alone: ADD prints it, CHECK compares with it. */
function wanted(request: StaticRequest): Result & { ips: IpConfig[] } {
  if (!request.conf.ipam) throw badConfig("ipam", undefined, "it is required");
  const { addresses, routes, dns } = request.conf.ipam();
  const ips = wantedIps(request, addresses);
  assertOnePerFamily(
    ips.map(({ address }) => address),
    request.cniVersion,
  );
  return { ips, routes, dns };
}

function check(request: StaticRequest): void {
  const { prevResult } = request;
  const { ips } = wanted(request);
  if (!prevResult) throw badConfig("prevResult", undefined, "CHECK needs the result of ADD");
  for (const { address, gateway } of ips) {
    const there = prevResult.ips?.filter((ip) => ip.address === address) ?? [];
    const differs = (reason: string) => new CniError(codes.checkFailed, `Cannot find address ${address}: ${reason}`);
    if (there.length === 0) throw differs("it is not in prevResult");
    // A main plugin may have chosen a gateway where none was named.
    if (gateway !== undefined && !there.some((ip) => ip.gateway === gateway)) {
      throw differs(`its gateway in prevResult is ${there[0]!.gateway}, not ${gateway}`);
    }
  }
}

export const plugin: Plugin<typeof conf> = {
  conf,
  add: wanted,
  check,
  del: () => {}, // nothing was kept, so what the configuration says does not matter
  status: (request) => {
    wanted(request);
  },
};

if (import.meta.main) main(plugin);
