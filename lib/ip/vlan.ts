// VLANs of a bridge's ports.
import { badConfig, CniError, codes } from "../cni/errors.ts";
import { addPortVlans, deletePortVlans, dumpPortVlans, type PortVlan, readPortVlans } from "../netlink/rtnl/vlan.ts";
import type { Namespace } from "../netns/netns.ts";

export type { PortVlan };

/** A trunk as it is configured: one VLAN, several, or both. */
export interface TrunkRange {
  id?: number;
  minID?: number;
  maxID?: number;
}

/**
 * The VLANs of a pod's port: `native` untagged, or the default VLAN 1 beside a trunk; the trunk's tagged. Throws, with code
 * 7, on a trunk that means nothing.
 */
export function portVlans(native: number | undefined, trunk: readonly TrunkRange[] | undefined): PortVlan[] {
  const vlans: PortVlan[] = native === undefined ? [] : [{ id: native, pvid: true, untagged: true }];
  const untagged = native ?? 1;
  const tag = (id: number, end: number) => {
    if (id <= end) vlans.push({ id, end });
  };
  trunk?.forEach(({ id, minID, maxID }, at) => {
    const key = `vlanTrunk[${at}]`;
    if ((minID === undefined) !== (maxID === undefined)) {
      throw badConfig(key, { minID, maxID }, "minID and maxID go together");
    }
    const runs: [number, number][] = id === undefined ? [] : [[id, id]];
    if (minID !== undefined && maxID !== undefined) {
      if (minID > maxID) throw badConfig(`${key}.minID`, minID, `must not be over maxID ${maxID}`);
      runs.push([minID, maxID]);
    }
    for (const [first, last] of runs) {
      // The untagged VLAN stays what it is where a run includes it: named again, it would become tagged.
      if (first <= untagged && untagged <= last) {
        tag(first, untagged - 1);
        tag(untagged + 1, last);
      } else tag(first, last);
    }
  });
  return vlans;
}

/** Gives a port its VLANs. VLAN 1, which the kernel gives every port, goes unless `keepDefault`. */
export function setPortVlans(ns: Namespace, index: number, vlans: PortVlan[], keepDefault: boolean): void {
  ns.route.request(
    ...(keepDefault ? [] : [{ ...deletePortVlans(index, [{ id: 1 }]), accept: ["ENOENT"] }]),
    addPortVlans(index, vlans),
  );
}

/** The VLANs of every port in the namespace, by the port's index. */
export function listPortVlans(ns: Namespace): Map<number, PortVlan[]> {
  const all = ns.route.dump(dumpPortVlans()).map(readPortVlans);
  return new Map(all.map(({ index, vlans }) => [index, vlans]));
}

/** Throws, with code 101, unless the port has these VLANs. */
export function assertPortVlans(ns: Namespace, index: number, wanted: readonly PortVlan[]): void {
  const have = listPortVlans(ns).get(index) ?? [];
  for (const { id, end = id, pvid = false } of wanted) {
    for (let one = id; one <= end; one++) {
      if (!have.some((vlan) => vlan.id === one && !!vlan.pvid === pvid)) {
        throw new CniError(codes.checkFailed, `Cannot find VLAN ${one} on the host's end of the link`);
      }
    }
  }
}
