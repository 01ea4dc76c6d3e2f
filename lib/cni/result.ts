// Results: one shape inside (1.1.0), every published shape outside. https://www.cni.dev/docs/spec/#success
import { parseCidr, parseIp } from "../netlink/inet.ts";
import { filtered, mapped } from "../sys/list.ts";
import { cidrText, config, int, ip, list, object, readFields, string, type Values } from "./config.ts";
import { badConfig, CniError, codes } from "./errors.ts";

export const versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export const newest = "1.1.0";

export interface Interface {
  name: string;
  mac?: string;
  mtu?: number;
  /** Path of the network namespace; absent for the host's. */
  sandbox?: string;
  socketPath?: string;
  pciID?: string;
}

export interface IpConfig {
  /** Index into interfaces. */
  interface?: number;
  /** "10.0.0.2/24" */
  address: string;
  gateway?: string;
}

export interface RouteConfig {
  dst: string;
  gw?: string;
  mtu?: number;
  advmss?: number;
  priority?: number;
  table?: number;
  scope?: number;
}

export interface Dns {
  nameservers?: string[];
  domain?: string;
  search?: string[];
  options?: string[];
}

export interface Result {
  interfaces?: Interface[];
  ips?: IpConfig[];
  routes?: RouteConfig[];
  dns?: Dns;
}

/** The container's end of an interface, in any namespace or in `sandbox`. */
export function containerEnd(result: Result | undefined, ifname: string, sandbox?: string): Interface | undefined {
  return result?.interfaces?.find(
    (one) => one.name === ifname && one.sandbox && (sandbox === undefined || one.sandbox === sandbox),
  );
}

/** A route in a configuration or result. */
export const routeConf = config({
  dst: [cidrText, { required: true }, "network that the route leads to"],
  gw: [ip, "next hop; default: the gateway of the address of the same family"],
  mtu: [int, { min: 0, max: 0xffffffff }, "largest packet on this route"],
  advmss: [int, { min: 0, max: 0xffffffff }, "TCP segment size to advertise on this route"],
  priority: [int, { min: 0, max: 0xffffffff }, "metric; the lowest wins"],
  table: [int, { min: 0, max: 0xffffffff }, "routing table"],
  scope: [int, { min: 0, max: 255 }, "scope: 0 universe, 253 link, 254 host"],
});

export const dnsConf = config({
  nameservers: [list(string), "addresses of name servers, in order of preference"],
  domain: [string, "local domain for short names"],
  search: [list(string), "domains to search for short names"],
  options: [list(string), "resolver options"],
});

const interfaceConf = config({
  name: [string, { default: "" }, ""],
  mac: [string, ""],
  mtu: [int, ""],
  sandbox: [string, ""],
  socketPath: [string, ""],
  pciID: [string, ""],
});

const ipConf = config({ interface: [int, ""], address: [cidrText, { required: true }, ""], gateway: [ip, ""] });

const modern = config({
  interfaces: [list(object(interfaceConf)), ""],
  ips: [list(object(ipConf)), ""],
  routes: [list(object(routeConf)), ""],
  dns: [object(dnsConf), ""],
});

const oldRoutes = config({ dst: [cidrText, { required: true }, ""], gw: [ip, ""] });
const oldIp = config({
  ip: [cidrText, { required: true }, ""],
  gateway: [ip, ""],
  routes: [list(object(oldRoutes)), ""],
});
const old = config({ ip4: [object(oldIp), ""], ip6: [object(oldIp), ""], dns: [object(dnsConf), ""] });

type Family = "old" | "middle" | "new";
const familyOf = (version: string): Family =>
  version.startsWith("0.1.") || version.startsWith("0.2.") ? "old" : version.startsWith("0.") ? "middle" : "new";

/** Reads a result that was written for `version`, or for the version that it names itself. */
export function readResult(json: unknown, version: string, key = "prevResult"): Result {
  const named = (json as { cniVersion?: unknown } | null)?.cniVersion;
  const own = typeof named === "string" && named !== "" ? named : version;
  if (!(versions as readonly string[]).includes(own)) {
    throw badConfig(`${key}.cniVersion`, named, `must be one of ${versions.join(", ")}`);
  }
  if (familyOf(own) !== familyOf(version)) {
    throw badConfig(`${key}.cniVersion`, named, `does not go with the configuration's cniVersion ${version}`);
  }
  if (familyOf(own) === "old") return fromOld(readFields(old, json, `${key}.`));
  // An index of no interface passes, as with the reference: the address is nobody's in particular.
  return readFields(modern, json, `${key}.`);
}

function fromOld({ ip4, ip6, dns }: Values<typeof old>): Result {
  const result: Result = { ips: [], routes: [], dns };
  for (const family of [ip4, ip6]) {
    if (!family) continue;
    result.ips!.push({ address: family.ip, gateway: family.gateway });
    result.routes!.push(...(family.routes ?? []));
  }
  return result;
}

/** The text of a result in the shape of `version`. */
export function writeResult(result: Result, version: string): string {
  return JSON.stringify(shape(result, version), null, 4);
}

/** The object to print, in the key order that the Go library gives it. */
export function shape(result: Result, version: string): Record<string, unknown> {
  const family = familyOf(version);
  if (family === "old") return toOld(result, version);
  const interfaces = mapped(result.interfaces ?? [], ({ name, mac, mtu, sandbox, socketPath, pciID }) =>
    // mtu and what follows came with 1.1.0.
    version === newest
      ? {
          mac: some(mac),
          mtu: some(mtu),
          name,
          pciID: some(pciID),
          sandbox: some(sandbox),
          socketPath: some(socketPath),
        }
      : family === "new"
        ? { mac: some(mac), name, sandbox: some(sandbox) }
        : { name, mac: some(mac), sandbox: some(sandbox) },
  );
  const ips = mapped(result.ips ?? [], ({ interface: index, address, gateway }) =>
    family === "new"
      ? { address, gateway: some(gateway), interface: index }
      : { version: address.includes(":") ? "6" : "4", interface: index, address, gateway: some(gateway) },
  );
  const routes = mapped(result.routes ?? [], ({ dst, table, scope, ...rest }) => {
    const [gw, mtu, advmss, priority] = [some(rest.gw), some(rest.mtu), some(rest.advmss), some(rest.priority)];
    return family === "new"
      ? { advmss, dst, gw, mtu, priority, scope, table }
      : { dst, gw, mtu, advmss, priority, table, scope };
  });
  const dns = shapeDns(result.dns, family === "new");
  return family === "new"
    ? { cniVersion: version, dns, interfaces: some(interfaces), ips: some(ips), routes: some(routes) }
    : { cniVersion: version, interfaces: some(interfaces), ips: some(ips), routes: some(routes), dns: dns ?? {} };
}

// As in Go, what is empty is not printed; an index, a table and a scope may well be 0.
function some<T extends string | number | unknown[]>(value: T | undefined): T | undefined {
  return value === undefined || value === 0 || (value as string).length === 0 ? undefined : value;
}

function shapeDns(dns: Dns | undefined, sorted: boolean): Dns | undefined {
  if (!dns) return undefined;
  const nameservers = some(dns.nameservers);
  const domain = some(dns.domain);
  const search = some(dns.search);
  const options = some(dns.options);
  if (!nameservers && !domain && !search && !options) return undefined;
  return sorted ? { domain, nameservers, options, search } : { nameservers, domain, search, options };
}

function toOld(result: Result, version: string): Record<string, unknown> {
  const shaped: Record<string, unknown> = { cniVersion: version };
  for (const [key, bytes] of [
    ["ip4", 4],
    ["ip6", 16],
  ] as const) {
    const ofFamily = (text: string) => (parseCidr(text)?.ip ?? parseIp(text))?.length === bytes;
    const first = result.ips?.find(({ address }) => ofFamily(address));
    if (!first) continue;
    const routes = result.routes?.filter(({ dst }) => ofFamily(dst)).map(({ dst, gw }) => ({ dst, gw: some(gw) }));
    shaped[key] = { ip: first.address, gateway: some(first.gateway), routes: some(routes) };
  }
  if (!shaped.ip4 && !shaped.ip6) {
    throw new CniError(
      codes.unsupportedField,
      `Cannot use cniVersion "${version}": it has no result without addresses`,
    );
  }
  shaped.dns = shapeDns(result.dns, false) ?? {};
  return shaped;
}

/** Results of before 0.3.0 hold one address of each family: refuses more, naming the version. */
export function assertOnePerFamily(addresses: readonly string[], version: string): void {
  if (familyOf(version) !== "old") return;
  const four = filtered(addresses, (address) => !address.includes(":")).length;
  if (four > 1 || addresses.length - four > 1) {
    throw new CniError(
      codes.unsupportedField,
      `Cannot use cniVersion "${version}": it does not support more than 1 address per family, there are ${addresses.join(", ")}`,
    );
  }
}
