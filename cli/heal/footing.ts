// What networks' paths stand on: the link to other nodes, its addresses and MTU, the networks of the links beside it. The
// kernel takes IPv4 routes away with a link that goes down, and tells of none of them; and what was programmed is as the ground
// was then. It is remembered and looked at again, so that news of links that carry nothing cost a few questions.
import { CniError, codes } from "../../lib/cni/errors.ts";
import { host, type Namespace } from "../../lib/netns/netns.ts";
import type { Paths } from "../../lib/peers/conf.ts";
import type { PeerNode } from "../../lib/peers/snapshot.ts";
import { assertTested, findUnderlay, footingOf } from "../../lib/peers/underlay.ts";

interface Footing {
  text: string;
  /** Indexes of the links that carry. */
  links: readonly number[];
  /** Why there is none. */
  lack?: string;
}

export class Footings {
  readonly #last = new Map<string, Footing>();
  readonly #self: (paths: Paths) => PeerNode | undefined;
  readonly #log: ((text: string) => void) | undefined;
  readonly #ns: Namespace;

  /** `self`: this node in a network's snapshot. */
  constructor(self: (paths: Paths) => PeerNode | undefined, log?: (text: string) => void, ns = host) {
    this.#self = self;
    this.#log = log;
    this.#ns = ns;
  }

  /** Whether nothing is remembered of the network. */
  isNew({ network }: Paths): boolean {
    return !this.#last.has(network);
  }

  /** Looks again: whether it is another one than before, or stood on one of these links, which changed meanwhile, maybe back. */
  hasMoved(paths: Paths, changed: ReadonlySet<number>): boolean {
    const before = this.#last.get(paths.network);
    const now = this.#look(paths);
    this.#last.set(paths.network, now);
    if (now.lack !== undefined && now.lack !== before?.lack) this.#log?.(`${paths.network}: ${now.lack}`);
    return before !== undefined && (now.text !== before.text || before.links.some((link) => changed.has(link)));
  }

  /** Whether there is none: then nothing can be mended, and its return will be news. */
  isMissing(network: string): boolean {
    return this.#last.get(network)?.lack !== undefined;
  }

  #look(paths: Paths): Footing {
    try {
      const self = this.#self(paths);
      if (!self) return { text: "", links: [] };
      const underlay = findUnderlay(this.#ns, paths, self);
      assertTested(underlay);
      return { text: footingOf(underlay), links: [underlay.link.index, ...underlay.beside.map(({ link }) => link)] };
    } catch (error) {
      if (!(error instanceof CniError)) throw error;
      // A snapshot that cannot be read is told by who programmes it.
      const isLack = error.code === codes.unavailable || error.code === codes.tryAgain;
      return { text: "", links: [], ...(isLack ? { lack: error.message } : {}) };
    }
  }
}
