// The settings of each kind of link: IFLA_INFO_DATA, by IFLA_INFO_KIND. linux/if_link.h.
import { attrs, be16, bool, ip, mac, type Table, u8, u16, u32 } from "../attr.ts";

/** IFLA_BR_* */
export const bridge = attrs({
  ageingTime: [4, u32],
  stpState: [5, u32],
  vlanFiltering: [7, bool],
  groupFwdMask: [9, u16],
  multicastSnooping: [23, bool],
  vlanDefaultPvid: [39, u16],
});

/** IFLA_BRPORT_*: the settings of a bridge's port (IFLA_INFO_SLAVE_DATA). */
export const bridgePort = attrs({
  state: [1, u8],
  hairpin: [4, bool],
  learning: [8, bool],
  unicastFlood: [9, bool],
  neighSuppress: [32, bool],
  isolated: [33, bool],
});

/** IFLA_VXLAN_* */
export const vxlan = attrs({
  id: [1, u32],
  group: [2, ip],
  link: [3, u32],
  local: [4, ip],
  ttl: [5, u8],
  learning: [7, bool],
  port: [15, be16], // network order, alone among its neighbours
  group6: [16, ip],
  local6: [17, ip],
  udpChecksum: [18, bool],
});

/** IFLA_MACVLAN_* */
export const macvlan = attrs({ mode: [1, u32], flags: [2, u16], address: [4, mac] });

/** IFLA_VLAN_* */
export const vlan = attrs({ id: [1, u16] });

export const kinds: Record<string, Table<any>> = { bridge, vxlan, macvlan, vlan };
