// The snapshot of a network: every node of it, this one among them. One JSON file, /run/tenon/peers/NETWORK.json, written
// whole by whoever knows the nodes (the agent, a person) and read by the plugins `vxlan` and `routes`.
// Its schema is docs/peers.schema.json, made from the table below.
import { cidrText, config, int, list, mac, object, readFields, string, type Type } from "../cni/config.ts";
import { badConfig, CniError, codes } from "../cni/errors.ts";
import { type Cidr, equalBytes, formatCidr, formatIp, networkOf, parseCidr, parseIp } from "../netlink/inet.ts";
import { makeDirectory, readTextIfAny, replaceFile } from "../sys/file.ts";

/** One node of the network. */
export interface PeerNode {
  name: string;
  /** Networks of its pods, canonical: "10.1.2.0/24". At most one of each family is the base of the overlay's hop. */
  subnets: string[];
  /** Addresses of the node in the network between the nodes, of either family, the preferred one first. */
  addresses: string[];
  /** MAC address of its tunnel device; without it, the hash of network, VNI and name. */
  mac?: string;
  /** MTU of the link that carries its traffic to other nodes. */
  mtu?: number;
}

export interface Snapshot {
  version: 1;
  network: string;
  /** Name of this node, which is one of `nodes`. */
  self: string;
  nodes: PeerNode[];
}

/** Where the snapshot of a network is unless its configuration says otherwise. */
export function peersPath(network: string): string {
  return `/run/tenon/peers/${network}.json`;
}

/** A network: an address without host bits and a prefix length. */
const subnet: Type<string> = {
  schema: cidrText.schema,
  read(value, key, bounds) {
    const text = cidrText.read(value, key, bounds);
    const cidr = parseCidr(text)!;
    const network = networkOf(cidr);
    if (!equalBytes(network, cidr.ip)) {
      throw badConfig(key, value, `must be a network, as ${formatCidr({ ip: network, prefix: cidr.prefix })}`);
    }
    return text;
  },
};

/** An address that one node has: no network's, nobody's, everybody's. */
const address: Type<string> = {
  schema: { type: "string", anyOf: [{ format: "ipv4" }, { format: "ipv6" }] },
  read(value, key) {
    const bytes = parseIp(string.read(value, key, {}));
    if (!bytes) throw badConfig(key, value, "must be an IP address");
    const first = bytes[0]!;
    const group = bytes.length === 4 ? first >= 224 : first === 255;
    if (group || bytes.every((byte) => byte === 0)) throw badConfig(key, value, "must be the address of one node");
    return formatIp(bytes);
  },
};

const word: Type<string> = {
  schema: { type: "string", minLength: 1 },
  read(value, key) {
    const text = string.read(value, key, {});
    if (text === "") throw badConfig(key, value, "must not be empty");
    return text;
  },
};

const nodeConf = config({
  name: [word, { required: true }, "name of the node, unlike every other's"],
  subnets: [list(subnet), { default: [] }, "networks of the node's pods, which overlap no other node's"],
  addresses: [
    list(address),
    { default: [] },
    "the node's addresses in the network between nodes, preferred ones first",
  ],
  mac: [mac, "MAC address of the node's tunnel device; default: made from network, VNI and name"],
  mtu: [int, { min: 576, max: 65535 }, "MTU of the node's link to the other nodes"],
});

/** The table of a snapshot: read it by `readSnapshot`, its schema is docs/peers.schema.json. */
export const snapshotConf = config({
  version: [int, { required: true, min: 1, max: 1 }, "version of this format"],
  network: [word, { required: true }, "name of the network, as in the configuration"],
  self: [word, { required: true }, "name of this node, one of the nodes"],
  nodes: [list(object(nodeConf)), { required: true }, "all nodes of the network, this one included"],
});

/**
 * Reads a snapshot from the text of the file at `path`, which messages name. Code 6 for what is no JSON, 7 for what breaks
 * the schema, for two nodes of one name or address, and for pods' networks that overlap.
 */
export function readSnapshot(text: string, path: string): Snapshot {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new CniError(codes.decodingFailure, `Cannot read the peers in "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  }
  return toSnapshot(json, path);
}

/** The same from what the text says. */
export function toSnapshot(json: unknown, path: string): Snapshot {
  try {
    const { network, self, nodes } = readFields(snapshotConf, json);
    const snapshot: Snapshot = { version: 1, network, self, nodes: nodes.map(tidy) };
    assertDistinct(snapshot);
    return snapshot;
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    throw new CniError(error.code, `${error.message} (in "${path}")`, { details: error.details, cause: error });
  }
}

function tidy({ mac, mtu, ...node }: { name: string; subnets: string[]; addresses: string[]; mac?: any; mtu?: any }) {
  const tidied: PeerNode = node;
  if (mac !== undefined) tidied.mac = mac;
  if (mtu !== undefined) tidied.mtu = mtu;
  return tidied;
}

function assertDistinct({ self, nodes }: Snapshot): void {
  const names = new Set<string>();
  const addresses = new Map<string, string>();
  const subnets: { cidr: Cidr; key: string; text: string; sort: string }[] = [];
  nodes.forEach((node, at) => {
    if (names.has(node.name)) throw badConfig(`nodes[${at}].name`, node.name, "another node has that name");
    names.add(node.name);
    node.addresses.forEach((one, where) => {
      const other = addresses.get(one);
      if (other !== undefined && other !== node.name)
        throw badConfig(`nodes[${at}].addresses[${where}]`, one, `node "${other}" has it`);
      addresses.set(one, node.name);
    });
    node.subnets.forEach((text, where) => {
      const cidr = parseCidr(text)!;
      subnets.push({ cidr, text, key: `nodes[${at}].subnets[${where}]`, sort: sortable(cidr) });
    });
  });
  if (!names.has(self)) throw badConfig("self", self, "must be the name of one of the nodes");
  // In order, a network is followed at once by what is inside of it.
  subnets.sort((a, b) => (a.sort < b.sort ? -1 : a.sort > b.sort ? 1 : 0));
  for (let at = 1; at < subnets.length; at++) {
    const [before, { cidr, key, text }] = [subnets[at - 1]!, subnets[at]!];
    const inside = networkOf({ ip: cidr.ip, prefix: before.cidr.prefix });
    if (before.cidr.ip.length === cidr.ip.length && equalBytes(inside, before.cidr.ip))
      throw badConfig(key, text, `it overlaps ${before.key} ${before.text}`);
  }
}

/** Text in whose order networks stand by family, address, and length of the prefix. */
function sortable({ ip, prefix }: Cidr): string {
  let text = ip.length === 4 ? "4" : "6";
  for (let at = 0; at < ip.length; at++) text += String.fromCharCode(ip[at]!);
  return text + String.fromCharCode(prefix);
}

/** The text of a snapshot's file: a node a line, so that two of them can be compared by eye. */
export function snapshotText({ network, self, nodes }: Snapshot): string {
  const head = `{ "version": 1, "network": ${JSON.stringify(network)}, "self": ${JSON.stringify(self)}, "nodes": [`;
  return `${head}\n${nodes.map((node) => JSON.stringify(node)).join(",\n")}\n] }\n`;
}

/** Puts a snapshot in the place of the one at `path`: readers see the old one or the new one, whole. */
export function writeSnapshot(snapshot: Snapshot, path = peersPath(snapshot.network)): void {
  makeDirectory(path.slice(0, path.lastIndexOf("/")) || "/");
  replaceFile(path, snapshotText(snapshot));
}

/** The snapshot in the file at `path`; undefined if there is none. */
export function loadSnapshot(path: string): Snapshot | undefined {
  const text = readTextIfAny(path);
  return text === undefined ? undefined : readSnapshot(text, path);
}

/** This node of a snapshot. */
export function selfOf({ self, nodes }: Snapshot): PeerNode {
  return nodes.find(({ name }) => name === self)!;
}

/** Whether two records say the same. */
export function sameNode(a: PeerNode, b: PeerNode): boolean {
  const same = a.mac === b.mac && a.mtu === b.mtu && a.name === b.name;
  return a === b || (same && sameTexts(a.subnets, b.subnets) && sameTexts(a.addresses, b.addresses));
}

export function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}
