// The paths to other nodes, of every network that was programmed on this one: each a part like those of attachments, and a
// quick way to tell whether what the kernel says went is any of it. The stamps under /run/tenon say which networks these are,
// and the agent of its own: a stamp is away while a network is programmed, and stays away if that was cut short.

import type { Part } from "../../lib/cni/request.ts";
import { isUp, listLinks } from "../../lib/ip/link.ts";
import { host } from "../../lib/ip/pod.ts";
import { compare } from "../../lib/peers/compare.ts";
import type { Paths } from "../../lib/peers/conf.ts";
import { baseOf, deviceName } from "../../lib/peers/device.ts";
import { protocol } from "../../lib/peers/entries.ts";
import { repair } from "../../lib/peers/network.ts";
import { loadSnapshot, type PeerNode, type Snapshot, selfOf } from "../../lib/peers/snapshot.ts";
import { markFile, readStamp, stampedNetworks, stampOf, whileAlone } from "../../lib/peers/stamp.ts";
import type { Event } from "./events.ts";
import { Footings } from "./footing.ts";

export interface Source {
  /** Brings a network's paths back; default: by what its snapshot says. */
  mend?(paths: Paths): void;
  /** Networks that are known to be programmed, whether stamps say so or not. */
  networks?(): readonly Paths[];
  /** The snapshot that was programmed, for who has it in memory; undefined: the one in the file. */
  snapshot?(paths: Paths): Snapshot | undefined;
  log?(text: string): void;
}

/** So many names are sooner looked for among thousands of nodes than those are put into a set. */
const FEW = 8;

export class Peers {
  /** What networks' paths are made of, as events name it: subnets, their bases, addresses of nodes. */
  readonly #known = new Map<string, Set<string>>();
  /** How many names were looked for in this pass. */
  #asked = 0;
  #networks: Paths[] = [];
  readonly #own: () => readonly Paths[];
  readonly #repair: (paths: Paths) => void;
  /** What somebody has in memory. */
  readonly #remembered: (paths: Paths) => Snapshot | undefined;
  readonly #footings: Footings;
  /** This node as files said that were read: one of thousands takes a tenth of a second. */
  readonly #selves = new Map<string, { mark: string; self: PeerNode | undefined }>();
  /** The MTU of links that are up, by index, as far as was heard. */
  #up = new Map<number, number>();

  constructor({ mend, networks, snapshot, log }: Source = {}) {
    this.#own = () => networks?.() ?? [];
    this.#repair = mend ?? ((paths) => void repair(host, paths));
    this.#remembered = (paths) => snapshot?.(paths);
    this.#footings = new Footings((paths) => this.#self(paths), log);
  }

  /** Reads which networks there are; to be called before the others are, with all that was heard since. */
  refresh(): void {
    const stamped = stampedNetworks().flatMap((network) => stampOf(network)?.paths ?? []);
    const all = [...stamped, ...this.#own()];
    this.#networks = [...new Map(all.map((paths) => [paths.network, paths])).values()];
  }

  /** The networks that events may be about; `anew`: the links are looked at too, as at first and when news was lost. */
  affected(events: readonly Event[], anew = false): Set<string> {
    const affected = new Set<string>();
    const changed = new Set<number>();
    let stirred = anew;
    for (const event of events) {
      const isLoss = (event.of === "link" && this.#isLoss(event)) || (event.of === "address" && event.gone);
      if (isLoss) changed.add(event.index);
      stirred ||= isGround(event);
      for (const network of this.#about(event, isLoss)) affected.add(network);
    }
    if (anew) this.#up = new Map(listLinks(host).flatMap((link) => (isUp(link) ? [[link.index, link.mtu ?? 0]] : [])));
    for (const paths of this.#networks)
      if ((stirred || this.#footings.isNew(paths)) && this.#footings.hasMoved(paths, changed))
        affected.add(paths.network);
    return affected;
  }

  /**
   * The networks that an event names something of. What a node's leaving takes away is not: by then the snapshot has nothing of
   * it. What is added, in our name, is our own doing.
   */
  #about(event: Event, isLoss: boolean): string[] {
    switch (event.of) {
      case "nftables":
        return event.structure ? this.#networks.map(({ network }) => network) : [];
      case "link":
        return isLoss ? this.#tunnelled(event.name) : [];
      case "address":
        return isLoss ? this.#with(event.ip) : [];
      case "route":
        return event.gone || event.protocol !== protocol ? this.#with(event.destination) : [];
      case "rule":
        return this.#with(event.from);
      case "neighbor":
        return this.#with(event.ip);
      default:
        return [];
    }
  }

  /** Whether a link went, went down or has another MTU: one that is just being made is not up yet either, and has lost nothing. */
  #isLoss({ gone, up, index, mtu }: Event & { of: "link" }): boolean {
    const was = this.#up.get(index);
    if (up && !gone) this.#up.set(index, mtu);
    else this.#up.delete(index);
    return gone || (was !== undefined && !(up && mtu === was));
  }

  /** After a pass: what it had to know is let go. */
  forget(): void {
    this.#known.clear();
    this.#asked = 0;
  }

  /** All networks as parts, or those named; none of which it is known that nothing carries them now. */
  parts(only?: ReadonlySet<string>): Part[] {
    return this.#networks
      .filter(({ network }) => (!only || only.has(network)) && !this.#footings.isMissing(network))
      .map((paths) => ({
        kind: "peers",
        name: paths.network,
        check: () => assertPeers(paths, this.#snapshot(paths)),
        ensure: () => this.#repair(paths),
      }));
  }

  #tunnelled(device: string): string[] {
    return this.#networks.flatMap(({ network, tunnel }) =>
      tunnel && deviceName(tunnel.vni) === device ? network : [],
    );
  }

  #with(name: string): string[] {
    const isFew = this.#asked++ < FEW;
    const knows = (paths: Paths) => (isFew ? this.#find(paths, name) : this.#names(paths).has(name));
    return this.#networks.flatMap((paths) => (knows(paths) ? paths.network : []));
  }

  /** One name, looked for from node to node. */
  #find(paths: Paths, name: string): boolean {
    const begin = `${name}/`;
    return this.#nodes(paths).some(
      ({ subnets, addresses }) =>
        addresses.includes(name) || subnets.some((subnet) => subnet === name || subnet.startsWith(begin)),
    );
  }

  /** All of them at once. */
  #names(paths: Paths): Set<string> {
    const known = this.#known.get(paths.network);
    if (known) return known;
    const names = new Set<string>();
    for (const { subnets, addresses } of this.#nodes(paths)) {
      for (const subnet of subnets) names.add(subnet).add(baseOf(subnet));
      for (const address of addresses) names.add(address);
    }
    this.#known.set(paths.network, names);
    return names;
  }

  #snapshot(paths: Paths): Snapshot | undefined {
    return this.#remembered(paths) ?? loadSnapshot(paths.file);
  }

  #self(paths: Paths): PeerNode | undefined {
    const snapshot = this.#remembered(paths);
    if (snapshot) return selfOf(snapshot);
    const mark = markFile(paths);
    let known = this.#selves.get(paths.network);
    if (known?.mark !== mark) {
      const loaded = loadSnapshot(paths.file);
      known = { mark, self: loaded && selfOf(loaded) };
      this.#selves.set(paths.network, known);
    }
    return known.self;
  }

  #nodes(paths: Paths): readonly PeerNode[] {
    try {
      return this.#snapshot(paths)?.nodes ?? [];
    } catch {
      return []; // what cannot be read is told by who programmes it
    }
  }
}

/** Whether what paths stand on may be another after this. */
const isGround = (event: Event) =>
  event.of === "link" ||
  event.of === "address" ||
  (event.of === "route" && (event.destination === "0.0.0.0/0" || event.destination === "::/0"));

/** Throws what differs; nodes that cannot be reached, or take less, are no matter of repair. */
function assertPeers(paths: Paths, snapshot: Snapshot | undefined): void {
  if (!snapshot) return;
  const differences = compare(host, paths, snapshot).filter(
    ({ state, what }) => state !== "unreachable" && !what.startsWith("MTU:"),
  );
  const [first] = differences;
  const more = differences.length > 1 ? ` and ${differences.length - 1} more` : "";
  if (first) throw new Error(`${first.state}: ${first.what}${more}`);
  assertStamped(paths);
}

/** Throws unless a stamp says that what is in the file is programmed: an ADD would have to do it, and may not be able to. */
function assertStamped(paths: Paths): void {
  // Who programmes takes the stamp away meanwhile, and is waited for.
  if (readStamp(paths) ?? whileAlone(paths.network, () => readStamp(paths))) return;
  throw new Error(`different: no stamp says that what is in "${paths.file}" is programmed`);
}
