// Names for sets and maps that hold what a user named: in characters that nft(8) reads, and short enough for the kernel.

/** 48 bits tell names and lists apart: a polynomial in 31 modulo the largest prime below 2^48, all in exact numbers. */
export function hash(text: string): string {
  let value = text.length + 1;
  for (let at = 0; at < text.length; at++) value = (value * 31 + text.charCodeAt(at)) % 281474976710597;
  return value.toString(16).padStart(12, "0");
}

/** A network's name as part of a set's: as it is, or if it is long a dot and its hash. */
export function pathOf(network: string): string {
  return network.length <= 64 ? network : `.${hash(network)}`;
}
