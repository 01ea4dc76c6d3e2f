// What an attachment is called on the host, so that DEL and GC find what ADD made without being told anything else.
import { sha512 } from "#ffi";
import { formatMac } from "../netlink/inet.ts";

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"; // RFC 4648 base32 in lower case: legal in link names

function base32(bytes: Uint8Array, length: number): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (let at = 0; text.length < length; ) {
    if (bits < 5) {
      value = ((value << 8) | bytes[at++]!) & 0xffff;
      bits += 8;
    }
    bits -= 5;
    text += alphabet[(value >> bits) & 31];
  }
  return text;
}

/**
 * 96 bits that tell texts apart: three runs of FNV-1a's kind, each with another odd factor, mixed at the end so that every bit
 * hangs on all of the text. Whoever may name containers could make two that collide; SHA-512 costs a process 0.2 ms to begin.
 */
function digest(text: string): Uint8Array {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  let c = text.length;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x9e3779b1);
    c = Math.imul(c ^ code, 0x85ebca6b);
    c ^= c >>> 15;
  }
  const bytes = new Uint8Array(12);
  for (let at = 0; at < 12; at++) {
    if (at % 4 === 0) [a, b, c] = [b, c, mixed(a ^ Math.imul(b, 5) ^ Math.imul(c, 25))];
    bytes[at] = c >>> (8 * (at % 4));
  }
  return bytes;
}

/** Each bit of the result hangs on each bit given. */
function mixed(word: number): number {
  let value = Math.imul(word ^ (word >>> 16), 0x7feb352d);
  value = Math.imul(value ^ (value >>> 15), 0x846ca68b);
  return value ^ (value >>> 16);
}

/** The host end of an attachment's veth: "tn" and 13 characters of hash (65 bits), within IFNAMSIZ. */
export function hostLinkName(network: string, containerId: string, ifname: string): string {
  return `tn${base32(digest(`${network}\0${containerId}\0${ifname}`), 13)}`;
}

/** A locally administered MAC address made from `text`. */
export function hashedMac(text: string): string {
  const bytes = digest(text).subarray(0, 6);
  bytes[0] = (bytes[0]! & 0xfc) | 2;
  return formatMac(bytes);
}

const longest = 120; // an nftables comment has 128 bytes

/** The label of an attachment in link aliases and nftables comments: network/container/ifname, hashed when long. */
export function labelOf(network: string, containerId: string, ifname: string): string {
  const label = `${network}/${containerId}/${ifname}`;
  return new TextEncoder().encode(label).length <= longest
    ? label
    : `~${base32(sha512(network), 26)}/${base32(sha512(containerId), 26)}/${ifname}`;
}

/** Whether a label is of an attachment to this network. */
export function isOfNetwork(label: string, network: string): boolean {
  // Hashed only where the label is: GC asks this of every pod's label on the node.
  if (!label.startsWith("~")) return label.startsWith(`${network}/`);
  return label.startsWith(`~${base32(sha512(network), 26)}/`);
}

const digits = "0123456789abcdef";

/** A name as the Go plugins make theirs: the prefix and the SHA-512 of `text` in hexadecimal, cut to `length`. */
export function hexName(prefix: string, text: string, length: number): string {
  const bytes = sha512(text);
  let name = prefix;
  for (let at = 0; at < bytes.length && name.length < length; at++)
    name += `${digits[bytes[at]! >> 4]}${digits[bytes[at]! & 15]}`;
  return name.slice(0, length);
}
