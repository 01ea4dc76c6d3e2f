// Addresses as text and as the bytes that the wire carries (inet_pton(3), inet_ntop(3)).
// Reading follows Go's net.ParseIP, which decides what other CNI software accepts: no leading zeros in IPv4,
// no zone, an IPv4-mapped IPv6 address is its IPv4 address. Writing follows RFC 5952.

/** The 4 or 16 bytes of an address, or undefined if `text` is none. */
export function parseIp(text: string): Uint8Array | undefined {
  return text.includes(":") ? parseIp6(text) : parseIp4(text);
}

function parseIp4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let at = 0;
  for (let i = 0; i < 4; i++) {
    if (i > 0 && text.charCodeAt(at++) !== DOT) return undefined;
    const end = afterNumber(text, at);
    const value = Number(text.slice(at, end));
    if (end === at || value > 255) return undefined;
    bytes[i] = value;
    at = end;
  }
  return at === text.length ? bytes : undefined;
}

const DOT = 46;
const ZERO = 48;

// A decimal number of three digits at most, without leading zeros. By hand: compiling the first regular expressions of a
// process costs more than reading all of its addresses.
function afterNumber(text: string, at: number): number {
  let end = at;
  while (end - at < 3 && text.charCodeAt(end) >= ZERO && text.charCodeAt(end) <= ZERO + 9) end++;
  return end - at > 1 && text.charCodeAt(at) === ZERO ? at : end;
}

function parseIp6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = groups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groups(halves[1]!, true) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const words = [...head];
  for (let at = 0; at < missing; at++) words.push(0);
  words.push(...tail);
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 8; i++) {
    bytes[2 * i] = words[i]! >> 8;
    bytes[2 * i + 1] = words[i]! & 255;
  }
  const mapped = words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff;
  return mapped ? bytes.slice(12) : bytes;
}

/** The 16-bit groups between colons; the last may be an IPv4 address if it ends the text. */
function groups(text: string, last: boolean): number[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const words: number[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    if (last && i === parts.length - 1 && part.includes(".")) {
      const four = parseIp4(part);
      if (!four) return undefined;
      words.push((four[0]! << 8) | four[1]!, (four[2]! << 8) | four[3]!);
    } else {
      const word = parseGroup(part);
      if (word < 0) return undefined;
      words.push(word);
    }
  }
  return words;
}

/** The number of one to four hexadecimal digits; -1 for anything else. */
function parseGroup(text: string): number {
  if (text.length < 1 || text.length > 4) return -1;
  let word = 0;
  for (let at = 0; at < text.length; at++) {
    const digit = hexDigit(text.charCodeAt(at));
    if (digit < 0) return -1;
    word = word * 16 + digit;
  }
  return word;
}

/** The canonical text of 4 or 16 address bytes. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (bytes.length !== 16) throw new RangeError(`Cannot read an address of ${bytes.length} bytes`);
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push((bytes[i]! << 8) | bytes[i + 1]!);
  let start = -1;
  let length = 1; // a single zero group is written out
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && words[i + run] === 0) run++;
    if (run > length) [start, length] = [i, run];
    i += run;
  }
  const hex = (some: number[]) => some.map((word) => word.toString(16)).join(":");
  return start < 0 ? hex(words) : `${hex(words.slice(0, start))}::${hex(words.slice(start + length))}`;
}

/** An address with the length of its network's prefix: "10.1.2.3/24". */
export interface Cidr {
  ip: Uint8Array;
  prefix: number;
}

/** Reads "address/length"; host bits are kept. Undefined if `text` is no such thing. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (!ip || !isDecimal(length)) return undefined;
  // The length of a mapped address is meant for IPv6, the address for IPv4: nobody could tell what such a network is.
  if (ip.length === 4 && text.includes(":")) return undefined;
  const prefix = Number(length);
  return prefix <= ip.length * 8 ? { ip, prefix } : undefined;
}

function isDecimal(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < ZERO || code > ZERO + 9) return false;
  }
  return text !== "";
}

export function formatCidr({ ip, prefix }: Cidr): string {
  return `${formatIp(ip)}/${prefix}`;
}

/** The address as a number, for counting through ranges. */
export function ipToNumber(ip: Uint8Array): bigint {
  let number = 0n;
  for (const byte of ip) number = (number << 8n) | BigInt(byte);
  return number;
}

/** The address of `length` bytes with this number. */
export function numberToIp(number: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = length - 1; i >= 0; i--, number >>= 8n) bytes[i] = Number(number & 255n);
  return bytes;
}

/** The network's own address: the host bits cleared. */
export function networkOf({ ip, prefix }: Cidr): Uint8Array {
  const network = new Uint8Array(ip);
  const whole = prefix >> 3;
  if (whole < network.length) network[whole]! &= 0xff00 >> (prefix & 7);
  return network.fill(0, whole + 1);
}

/** Whether `ip` is in the network, of the same family. */
export function contains(network: Cidr, ip: Uint8Array): boolean {
  return network.ip.length === ip.length && equalBytes(networkOf(network), networkOf({ ip, prefix: network.prefix }));
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** AF_INET or AF_INET6. */
export function familyOf(ip: Uint8Array): 2 | 10 {
  return ip.length === 4 ? 2 : 10;
}

/** The 6 bytes of a MAC address written with colons, or undefined. */
export function parseMac(text: string): Uint8Array | undefined {
  if (text.length !== 17) return undefined;
  const bytes = new Uint8Array(6);
  for (let i = 0; i < 6; i++) {
    const high = hexDigit(text.charCodeAt(3 * i));
    const low = hexDigit(text.charCodeAt(3 * i + 1));
    if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] !== ":")) return undefined;
    bytes[i] = high * 16 + low;
  }
  return bytes;
}

function hexDigit(code: number): number {
  if (code >= ZERO && code <= ZERO + 9) return code - ZERO;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

export function formatMac(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += (i ? ":" : "") + (bytes[i]! < 16 ? "0" : "") + bytes[i]!.toString(16);
  return text;
}
