// The paths to other nodes, of every network that was programmed on this one: each a part like those of attachments, and a
// quick way to tell whether what the kernel says went is any of it. The stamps under /run/tenon say which networks these are.

import type { Part } from "../../lib/cni/request.ts";
import { isUp, listLinks } from "../../lib/ip/link.ts";
import { host } from "../../lib/ip/pod.ts";
import { compare } from "../../lib/peers/compare.ts";
import type { Paths } from "../../lib/peers/conf.ts";
import { baseOf, deviceName } from "../../lib/peers/device.ts";
import { protocol } from "../../lib/peers/entries.ts";
import { repair } from "../../lib/peers/network.ts";
import { loadSnapshot, type PeerNode, type Snapshot } from "../../lib/peers/snapshot.ts";
import { stampedNetworks, stampOf } from "../../lib/peers/stamp.ts";
import type { Event } from "./events.ts";

export interface Source {
  /** Brings a network's paths back; default: by what its snapshot says. */
  mend?(paths: Paths): void;
  /** The snapshot that was programmed, for who has it in memory; undefined: the one in the file. */
  snapshot?(paths: Paths): Snapshot | undefined;
}

/** So many names are sooner looked for among thousands of nodes than those are put into a set. */
const FEW = 8;

export class Peers {
  /** What networks' paths are made of, as events name it: subnets, their bases, addresses of nodes, the device. */
  readonly #known = new Map<string, Set<string>>();
  /** How many names were looked for in this pass. */
  #asked = 0;
  #networks: Paths[] = [];
  readonly #repair: (paths: Paths) => void;
  readonly #snapshot: (paths: Paths) => Snapshot | undefined;
  /** Links that are up, by index, as far as was heard. */
  #up: Set<number> | undefined;

  constructor({ mend, snapshot }: Source = {}) {
    this.#repair = mend ?? ((paths) => void repair(host, paths));
    this.#snapshot = (paths) => snapshot?.(paths) ?? loadSnapshot(paths.file);
  }

  /** Reads which networks there are; to be called before the others are, with all that was heard since. */
  refresh(): void {
    this.#up ??= new Set(listLinks(host).flatMap((link) => (isUp(link) ? link.index : [])));
    this.#networks = stampedNetworks().flatMap((network) => stampOf(network)?.paths ?? []);
  }

  /**
   * The networks that an event may be about. What a node's leaving takes away is not: by then the snapshot has nothing of
   * it. What is added, in our name, is our own doing.
   */
  affected(event: Event): string[] {
    switch (event.of) {
      case "nftables":
        return event.structure ? this.#networks.map(({ network }) => network) : [];
      case "link":
        return this.#isLoss(event) ? this.#with(event.name) : [];
      case "address":
        return this.#with(event.ip);
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

  /** Whether a link went, or went down: one that is just being made is not up yet either, and has lost nothing. */
  #isLoss({ gone, up, index }: Event & { of: "link" }): boolean {
    const was = this.#up?.delete(index);
    if (up && !gone) this.#up?.add(index);
    return gone || (!up && was === true);
  }

  /** After a pass: what it had to know is let go. */
  forget(): void {
    this.#known.clear();
    this.#asked = 0;
  }

  /** All networks as parts, or those named. */
  parts(only?: ReadonlySet<string>): Part[] {
    return this.#networks
      .filter(({ network }) => !only || only.has(network))
      .map((paths) => ({
        kind: "peers",
        name: paths.network,
        check: () => assertPeers(paths, this.#snapshot(paths)),
        ensure: () => this.#repair(paths),
      }));
  }

  #with(name: string): string[] {
    const isFew = this.#asked++ < FEW;
    const knows = (paths: Paths) => (isFew ? this.#find(paths, name) : this.#names(paths).has(name));
    return this.#networks.flatMap((paths) => (knows(paths) ? paths.network : []));
  }

  /** One name, looked for from node to node. */
  #find(paths: Paths, name: string): boolean {
    if (paths.tunnel && name === deviceName(paths.tunnel.vni)) return true;
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
    const names = new Set<string>(paths.tunnel ? [deviceName(paths.tunnel.vni)] : []);
    for (const { subnets, addresses } of this.#nodes(paths)) {
      for (const subnet of subnets) names.add(subnet).add(baseOf(subnet));
      for (const address of addresses) names.add(address);
    }
    this.#known.set(paths.network, names);
    return names;
  }

  #nodes(paths: Paths): readonly PeerNode[] {
    try {
      return this.#snapshot(paths)?.nodes ?? [];
    } catch {
      return []; // what cannot be read is told by who programmes it
    }
  }
}

/** Throws what differs; nodes that cannot be reached, or take less, are no matter of repair. */
function assertPeers(paths: Paths, snapshot: Snapshot | undefined): void {
  if (!snapshot) return;
  const differences = compare(host, paths, snapshot).filter(
    ({ state, what }) => state !== "unreachable" && !what.startsWith("MTU:"),
  );
  if (differences.length === 0) return;
  const [first] = differences;
  const more = differences.length > 1 ? ` and ${differences.length - 1} more` : "";
  throw new Error(`${first!.state}: ${first!.what}${more}`);
}
