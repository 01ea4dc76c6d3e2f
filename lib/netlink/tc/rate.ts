// Rates and the time that bytes take at them. linux/pkt_sched.h struct tc_ratespec; net/pkt_sched.h PSCHED_SHIFT.
import { struct, u8, u16, u32 } from "../attr.ts";

/** Ethernet frames. Told this, the kernel wants no table of times, which iproute2 still sends along. */
export const TC_LINKLAYER_ETHERNET = 1;

/** struct tc_ratespec. `rate` is in bytes a second; what does not fit 32 bits has an attribute of its own. */
export const rateSpec = struct(
  12,
  { cellLog: u8, linkLayer: u8, overhead: u16, cellAlign: u16, mpu: u16, rate: u32 },
  { cellLog: 1, linkLayer: 1, overhead: 2, cellAlign: 2, mpu: 2, rate: 4 },
);

/** The largest rate that a tc_ratespec holds. */
export const RATE32_MAX = 0xffffffff;

/** A tc_ratespec of so many bytes a second, or as many as it holds. */
export function ethernetRate(rate: number) {
  const fits = Math.min(rate, RATE32_MAX);
  return { cellLog: 0, linkLayer: TC_LINKLAYER_ETHERNET, overhead: 0, cellAlign: 0, mpu: 0, rate: fits };
}

/** No rate at all: what `peakrate` is where there is none. */
export const noRate = { cellLog: 0, linkLayer: 0, overhead: 0, cellAlign: 0, mpu: 0, rate: 0 };

/** The kernel counts time in ticks of 64 ns. */
const TICKS_PER_MICROSECOND = 1e9 / 64 / 1e6;

/**
 * The ticks that so many bytes take. Whole microseconds first, as the Go plugins do it, whose CHECK compares numbers. May
 * be more than the 32 bits that a message has room for.
 */
export function ticksOf(bytes: number, rate: number): number {
  return Math.floor(Math.floor((bytes * 1e6) / rate) * TICKS_PER_MICROSECOND);
}
