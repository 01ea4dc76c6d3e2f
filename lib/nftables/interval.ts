// Networks as elements of an interval set: the first key of each interval, and the first after it marked as an end.
// Kernels refuse intervals that overlap, so those that do or touch become one.
import { type Cidr, ipToNumber, networkOf, numberToIp } from "../netlink/inet.ts";
import type { Element } from "./element.ts";

/** The elements of a set that holds these networks, all of one family. At least one network. */
export function intervalsOf(networks: readonly Cidr[]): Element[] {
  const length = networks[0]!.ip.length;
  const end = 1n << BigInt(length * 8);
  const ranges = networks
    .map((network) => {
      const from = ipToNumber(networkOf(network));
      return { from, to: from + (1n << BigInt(length * 8 - network.prefix)) };
    })
    .sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
  const merged: typeof ranges = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (!last || range.from > last.to) merged.push({ ...range });
    else if (range.to > last.to) last.to = range.to;
  }
  const elements: Element[] = [];
  // nft(8) too begins with an end at zero: what is below the first interval is in none.
  if (merged[0]!.from !== 0n) elements.push({ key: new Uint8Array(length), end: true });
  for (const { from, to } of merged) {
    elements.push({ key: numberToIp(from, length) });
    if (to !== end) elements.push({ key: numberToIp(to, length), end: true });
  }
  return elements;
}
