// Which attachments an event of the kernel is about: by names of links, by addresses, by labels.
import { formatCidr, networkOf, parseCidr } from "../../lib/netlink/inet.ts";
import { type Attachment, isOurs } from "./attachments.ts";
import type { Event } from "./events.ts";

const none: readonly Attachment[] = [];

export class Inventory {
  readonly all: readonly Attachment[];
  readonly #byName = new Map<string, Attachment[]>();
  readonly #byAddress = new Map<string, Attachment[]>();
  readonly #byDestination = new Map<string, Attachment[]>();
  readonly #byLabel = new Map<string, Attachment[]>();

  constructor(attachments: readonly Attachment[]) {
    this.all = attachments.filter(isOurs);
    for (const one of this.all) {
      add(this.#byLabel, one.label, one);
      for (const { name, sandbox } of one.result.interfaces ?? []) if (!sandbox) add(this.#byName, name, one);
      for (const { address, gateway } of one.result.ips ?? []) {
        if (gateway) add(this.#byAddress, gateway, one);
        const cidr = parseCidr(address);
        if (!cidr) continue;
        const whole = cidr.ip.length * 8;
        for (const prefix of new Set([cidr.prefix, whole]))
          add(this.#byDestination, formatCidr({ ip: networkOf({ ...cidr, prefix }), prefix }), one);
      }
    }
  }

  /** The attachments to be looked at. `nameOf`: the name of a link that is there, by its index. */
  affected(event: Event, nameOf: (index: number) => string | undefined): readonly Attachment[] {
    switch (event.of) {
      case "link": {
        const named = this.#byName.get(event.name) ?? none;
        // A bridge that is there as before tells by one of its pods; of the one that is gone each needs looking at.
        return event.gone || !event.up ? named : named.slice(0, 1);
      }
      case "address":
        return (event.gone && this.#byAddress.get(event.ip)) || none;
      case "route":
        return this.#byDestination.get(event.destination) ?? none;
      case "shaping":
        return this.#byName.get(nameOf(event.index) ?? "") ?? none;
      case "nftables":
        return event.structure ? this.all : event.labels.flatMap((label) => this.#byLabel.get(label) ?? none);
      default:
        return none;
    }
  }
}

function add(map: Map<string, Attachment[]>, key: string, one: Attachment): void {
  const list = map.get(key);
  if (list) list.push(one);
  else map.set(key, [one]);
}
