// Which subnets of the cluster's ranges are taken, and which one to try next. The search is the address allocator's: a subnet
// is an index in its range, however large that is.
import { AddressBitmap } from "../../lib/ipam/address-bitmap.ts";
import { type Cidr, formatCidr, ipToNumber, numberToIp, parseCidr } from "../../lib/netlink/inet.ts";
import type { Range } from "./settings.ts";

/** Subnets of one range. */
export class Subnets {
  readonly #network: Cidr;
  readonly #size: number;
  /** Bits of addresses in one subnet. */
  readonly #shift: bigint;
  readonly #count: bigint;
  readonly #taken: AddressBitmap;

  constructor({ cidr, size }: Range) {
    this.#network = parseCidr(cidr)!;
    this.#size = size;
    this.#shift = BigInt(this.#network.ip.length * 8 - size);
    this.#count = 1n << BigInt(size - this.#network.prefix);
    this.#taken = new AddressBitmap([[0n, this.#count - 1n]]);
  }

  /** How many subnets there are, and how many of them are taken. */
  get count(): { all: bigint; taken: number } {
    return { all: this.#count, taken: this.#taken.count };
  }

  /** Whether a subnet is one of this range, of the size that nodes get. */
  holds(subnet: string): boolean {
    const span = this.#span(subnet);
    return span !== undefined && span.prefix === this.#size;
  }

  /** Counts what overlaps this network as taken; nothing if it lies elsewhere. */
  take(subnet: string): void {
    const span = this.#span(subnet);
    if (!span) return;
    // A claim of another size may cover many; each of them is worth a bit only as long as they are few.
    for (let at = span.first; at <= span.last; at++) this.#taken.allocateAt(at);
  }

  /**
   * Takes a free subnet: the first one after the place that the text leads to. So nodes that start together seldom want the
   * same one, and a node that has lost its memory finds its old one if nobody took it. Undefined when all are taken.
   */
  next(text: string): string | undefined {
    const hash = BigInt(`0x${new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 16)}`);
    const index = this.#taken.allocate(hash % this.#count);
    if (index === undefined) return undefined;
    const { ip } = this.#network;
    return formatCidr({ ip: numberToIp(ipToNumber(ip) + (index << this.#shift), ip.length), prefix: this.#size });
  }

  #span(subnet: string): { first: bigint; last: bigint; prefix: number } | undefined {
    const cidr = parseCidr(subnet);
    if (!cidr || cidr.ip.length !== this.#network.ip.length) return undefined;
    const bits = BigInt(cidr.ip.length * 8);
    const base = ipToNumber(this.#network.ip);
    const start = ipToNumber(cidr.ip) - base;
    const end = start + (1n << (bits - BigInt(cidr.prefix))) - 1n;
    const first = start < 0n ? 0n : start >> this.#shift;
    const last = end >> this.#shift;
    if (end < 0n || first >= this.#count) return undefined;
    return { first, last: last < this.#count ? last : this.#count - 1n, prefix: cidr.prefix };
  }
}
