// What the kernel tells of changes, read as far as it takes to know whose they are: links, addresses, routes, neighbours,
// forwarding entries and traffic control (rtnetlink(7)), and transactions of nftables (linux/netfilter/nf_tables.h).
import { attrs, be32, ip, text } from "../../lib/netlink/attr.ts";
import { readAddress } from "../../lib/netlink/rtnl/address.ts";
import { IFF_UP, readLink } from "../../lib/netlink/rtnl/link.ts";
import { readRoutes } from "../../lib/netlink/rtnl/route.ts";
import { readRule } from "../../lib/netlink/rtnl/rule.ts";
import { eachMessage } from "../../lib/netlink/socket.ts";
import { readElements } from "../../lib/nftables/element.ts";

export type Event =
  /** A link that came, changed or went; `left`: it is no bridge's port any more. */
  | { of: "link"; gone: boolean; index: number; name: string; up: boolean; mtu: number; left: boolean }
  | { of: "address"; gone: boolean; index: number; ip: string }
  | { of: "route"; gone: boolean; destination: string; protocol: number }
  /** A neighbour or a forwarding entry that went: its address, and that of the tunnel's other end. */
  | { of: "neighbor"; index: number; ip: string }
  /** A rule of policy routing that went. */
  | { of: "rule"; from: string }
  | { of: "shaping"; index: number }
  /** One transaction: what was taken out of our tables, labels of attachments where only elements were. */
  | { of: "nftables"; pid: number; program: string; structure: boolean; labels: string[] };

/** Groups, as bits: RTNLGRP_LINK, NEIGH, TC, IPV4_IFADDR, _ROUTE and _RULE, IPV6_ the same; NFNLGRP_NFTABLES. */
export const routeGroups = 0x1 | 0x4 | 0x8 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000;
export const nftablesGroups = 0x40;

const [NEWLINK, DELLINK, NEWADDR, DELADDR] = [16, 17, 20, 21];
const [NEWROUTE, DELROUTE, DELNEIGH, DELPOLICY] = [24, 25, 29, 33];
const [DELQDISC, DELTCLASS, DELTFILTER] = [37, 41, 45];
const AF_BRIDGE = 7;
/** linux/neighbour.h: NDA_DST, behind a header of twelve bytes. */
const neighbor = attrs({ ip: [1, ip] });

/** The events in one datagram of the rtnetlink socket. */
export function readRouteEvents(datagram: Uint8Array): Event[] {
  const events: Event[] = [];
  eachMessage(datagram, (type, _, payload) => {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    const index = payload.length >= 8 ? view.getInt32(4, true) : 0;
    switch (type) {
      case NEWLINK:
      case DELLINK: {
        const { name = "", mtu = 0, flags } = readLink({ payload });
        const left = payload[0] === AF_BRIDGE && type === DELLINK;
        const gone = payload[0] !== AF_BRIDGE && type === DELLINK;
        events.push({ of: "link", gone, index, name, up: (flags & IFF_UP) !== 0, mtu, left });
        break;
      }
      case NEWADDR:
      case DELADDR:
        events.push({ of: "address", gone: type === DELADDR, index, ip: readAddress({ payload }).ip });
        break;
      case NEWROUTE:
      case DELROUTE:
        for (const { destination, protocol = 0 } of readRoutes({ payload }).slice(0, 1))
          events.push({ of: "route", gone: type === DELROUTE, destination, protocol });
        break;
      case DELNEIGH: {
        const { ip } = neighbor.read(payload.subarray(12));
        if (ip !== undefined) events.push({ of: "neighbor", index, ip });
        break;
      }
      case DELPOLICY: {
        const { from } = readRule({ payload });
        if (from !== undefined) events.push({ of: "rule", from });
        break;
      }
      case DELQDISC:
      case DELTCLASS:
      case DELTFILTER:
        events.push({ of: "shaping", index });
    }
  });
  return events;
}

const NFTABLES = 10 << 8;
const [DELTABLE, DELCHAIN, DELRULE, DELSET, DELSETELEM, NEWGEN] = [2, 5, 8, 11, 14, 15];
const HEADER = 4;
/** Every object names its table in the first attribute. */
const named = attrs({ table: [1, text] });
const generation = attrs({ id: [1, be32], pid: [2, be32], program: [3, text] });

/** Reads datagrams of the nfnetlink socket: changes are gathered until the generation that they made, which tells by whom. */
export class Transactions {
  #structure = false;
  #labels: string[] = [];

  /** The transactions of ours that end in this datagram. */
  read(datagram: Uint8Array): Event[] {
    const events: Event[] = [];
    eachMessage(datagram, (type, _, payload) => {
      const attributes = payload.subarray(HEADER);
      switch (type - NFTABLES) {
        case DELTABLE:
        case DELCHAIN:
        case DELRULE:
        case DELSET:
          if (named.read(attributes).table === "tenon") this.#structure = true;
          break;
        case DELSETELEM: {
          if (named.read(attributes).table !== "tenon") break;
          for (const { comment } of readElements({ type, payload })) {
            if (comment === undefined) this.#structure = true;
            else this.#labels.push(comment);
          }
          break;
        }
        case NEWGEN: {
          const { pid = 0, program = "" } = generation.read(attributes);
          if (this.#structure || this.#labels.length > 0)
            events.push({ of: "nftables", pid, program, structure: this.#structure, labels: this.#labels });
          this.#structure = false;
          this.#labels = [];
        }
      }
    });
    return events;
  }
}
