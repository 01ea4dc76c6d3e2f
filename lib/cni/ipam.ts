// Address management by another plugin, as main plugins use it. https://www.cni.dev/docs/spec/#section-4-plugin-delegation
import { mapped } from "../sys/list.ts";
import { delegate } from "./delegate.ts";
import { CniError, codes } from "./errors.ts";
import type { Request } from "./request.ts";
import { assertOnePerFamily, type Dns, type IpConfig, type Result } from "./result.ts";

/**
 * Asks plugin `type` for addresses: one at least, and no more than results of the version can hold. What it gave goes
 * back with `undo`.
 */
export function askIpam(
  request: Request<any>,
  type: string,
  undo: (step: () => void) => void,
): Result & { ips: IpConfig[] } {
  const given = delegate(request, type, "ADD");
  undo(() => delegate(request, type, "DEL"));
  const ips = given.ips ?? [];
  if (ips.length === 0) {
    throw new CniError(codes.invalidConfig, `Cannot use ipam.type ${JSON.stringify(type)}: it gave no address`);
  }
  assertOnePerFamily(
    mapped(ips, ({ address }) => address),
    request.cniVersion,
  );
  return { ...given, ips };
}

/** What a configuration says of name resolution, if it says anything, be it that there are none; else what IPAM gave. */
export function chooseDns(configured: Dns | undefined, given: Dns | undefined): Dns | undefined {
  const isSet = configured && Object.values(configured).some((value) => value !== undefined && value !== "");
  return isSet ? configured : given;
}

/** The addresses of a result that are the interface's own, or nobody's in particular. */
export function ownIps({ ips = [], interfaces }: Result, ifname: string): IpConfig[] {
  return ips.filter(({ interface: at }) => at === undefined || (interfaces?.[at]?.name ?? ifname) === ifname);
}
