// VLANs of a bridge's ports.
import { CniError, codes } from "../cni/errors.ts";
import { addPortVlans, deletePortVlans, dumpPortVlans, type PortVlan, readPortVlans } from "../netlink/rtnl/vlan.ts";
import type { Namespace } from "../netns/netns.ts";

export type { PortVlan };

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
