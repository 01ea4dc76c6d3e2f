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

/** The host end of an attachment's veth: "tn" and 13 characters of hash (65 bits), within IFNAMSIZ. */
export function hostLinkName(network: string, containerId: string, ifname: string): string {
  return `tn${base32(sha512(`${network}\0${containerId}\0${ifname}`), 13)}`;
}

/** A locally administered MAC address made from `text`. */
export function hashedMac(text: string): string {
  const bytes = sha512(text).subarray(0, 6);
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
