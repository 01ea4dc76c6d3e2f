// Everything on this host that bears the name of an attachment: links by their alias, elements of nftables by their comment,
// reservations of host-local by what is in them.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { labelOf } from "../../lib/cni/identity.ts";
import { listLinks } from "../../lib/ip/link.ts";
import { readOwner } from "../../lib/ipam/store.ts";
import { formatIp, parseIp } from "../../lib/netlink/inet.ts";
import { host } from "../../lib/netns/netns.ts";
import { listElements, listSets } from "../../lib/nftables/attachment.ts";
import { bridge, inet } from "../../lib/nftables/layout.ts";

/** What is left of one attachment, or belongs to a living one. */
export interface Found {
  label: string;
  /** Unknown where there is nothing but a label of hashes. */
  id?: { network: string; containerId: string; ifname: string };
  /** In words: "link tnabc", "address 10.1.0.2", "element of ports/ip". */
  things: string[];
  /** Whether there is a link, whose other end stands in a namespace. */
  linked: boolean;
  addresses: string[];
}

/** All of them; throws what cannot be read. */
export async function findAll(dataDirs: readonly string[]): Promise<Map<string, Found>> {
  const all = new Map<string, Found>();
  const at = (label: string): Found => {
    let found = all.get(label);
    if (!found) {
      found = { label, id: readLabel(label), things: [], linked: false, addresses: [] };
      all.set(label, found);
    }
    return found;
  };
  for (const { name, alias, info } of listLinks(host)) {
    if (!isLabel(alias)) continue;
    const found = at(alias!);
    found.things.push(`link ${name}`);
    found.linked ||= info?.kind === "veth";
  }
  for (const table of [inet, bridge]) {
    for (const set of listSets(host.netfilter, table)) {
      for (const { key, comment } of listElements(host.netfilter, set)) {
        if (!isLabel(comment)) continue;
        const found = at(comment!);
        found.things.push(`element of ${set.name}`);
        if (/^(masq|firewall)\//.test(set.name) && (key.length === 4 || key.length === 16))
          found.addresses.push(formatIp(key));
      }
    }
  }
  for (const dataDir of dataDirs) for (const one of await reservations(dataDir)) add(at, one);
  return all;
}

function add(at: (label: string) => Found, { network, containerId, ifname, address }: Reservation): void {
  const found = at(labelOf(network, containerId, ifname));
  found.id ??= { network, containerId, ifname };
  found.things.push(`address ${address}`);
  found.addresses.push(address);
}

interface Reservation {
  network: string;
  containerId: string;
  ifname: string;
  address: string;
}

/** The reservations below a folder of host-local; none where there is no such folder. */
async function reservations(dataDir: string): Promise<Reservation[]> {
  const networks = await readdir(dataDir, { withFileTypes: true }).catch((error) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const all: Reservation[] = [];
  for (const network of networks) {
    if (!network.isDirectory()) continue;
    for (const name of await readdir(join(dataDir, network.name))) {
      if (!parseIp(name)) continue;
      const text = await readFile(join(dataDir, network.name, name), "utf8").catch((error) => {
        if (error.code === "ENOENT") return "";
        throw error;
      });
      const owner = readOwner(text.trim());
      if (!owner) continue;
      // Long ago the interface was left out.
      const { containerId, ifname = "eth0" } = owner;
      all.push({ network: network.name, address: name, containerId, ifname });
    }
  }
  return all;
}

const isLabel = (text: string | undefined) => text !== undefined && text.split("/").length === 3;

function readLabel(label: string): Found["id"] {
  if (label.startsWith("~")) return undefined;
  const [network, containerId, ifname] = label.split("/") as [string, string, string];
  return { network, containerId, ifname };
}
