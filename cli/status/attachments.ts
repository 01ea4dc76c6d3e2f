// The attachments of this node: what runtimes remember beside what the host has, and what of each is missing.
import { statSync } from "node:fs";
import { findLink, isUp } from "../../lib/ip/link.ts";
import { host } from "../../lib/netns/netns.ts";
import { type Attachment, Caches, isOurs } from "../heal/attachments.ts";
import { type Found, findAll } from "../heal/found.ts";
import { repairAll } from "../heal/repair.ts";

export interface AttachmentState {
  network: string;
  container: string;
  ifname: string;
  addresses: string[];
  /** The host's end of its link, and the bridge that it is a port of. */
  link?: string;
  bridge?: string;
  /** Milliseconds since 1970: when its runtime last wrote of it, or its address was given out. */
  since?: number;
  /** What is not as it should be, in words. */
  problems: string[];
}

export interface Attachments {
  attachments: AttachmentState[];
  /** What runtimes remember could not be read, or not all of it. */
  problem?: string;
}

export interface Options {
  caches: readonly string[];
  dataDirs: readonly string[];
  /** Network names; empty for all. */
  only: readonly string[];
}

/** Looks at all of them; changes nothing. */
export async function listAttachments({ caches, dataDirs, only }: Options): Promise<Attachments> {
  const { attachments: cached, problem } = await new Caches(caches).read();
  const found = await findAll(dataDirs);
  const missing = new Map<string, string[]>();
  await repairAll(cached, { dry: true }, (repairs, { label }) => {
    missing.set(
      label,
      repairs.map(({ kind, name, why }) => `${kind} ${name}: ${why}`),
    );
  });
  const all = cached.map((one) => ofCached(one, found.get(one.label), missing.get(one.label) ?? [], dataDirs));
  const known = new Set(cached.map(({ label }) => label));
  // Without runtimes' memory nothing can be told of what they remember.
  const isTold = !problem && cached.length > 0;
  for (const one of found.values()) if (!known.has(one.label)) all.push(ofFound(one, isTold, dataDirs));
  return {
    attachments: all
      .filter(({ network }) => only.length === 0 || only.includes(network))
      .sort((a, b) => `${a.network}/${a.container}`.localeCompare(`${b.network}/${b.container}`)),
    ...(problem ? { problem } : {}),
  };
}

function ofCached(
  one: Attachment,
  found: Found | undefined,
  missing: string[],
  dataDirs: readonly string[],
): AttachmentState {
  const { network, containerId, ifname, hostName, result, file } = one;
  const addresses = (result.ips ?? []).map(({ address }) => address.split("/")[0]!);
  const link = isOurs(one) ? findLink(host, hostName) : undefined;
  const problems = [...missing];
  if (isOurs(one) && !link) problems.unshift(`link ${hostName} is gone`);
  else if (link && !isUp(link)) problems.unshift(`link ${hostName} is down`);
  const usesHostLocal = one.steps.some(
    ({ json }) => (json.ipam as { type?: unknown } | undefined)?.type === "host-local",
  );
  for (const address of usesHostLocal ? addresses : [])
    if (!found?.things.includes(`address ${address}`) && reservedElsewhere(dataDirs, network, address))
      problems.push(`${address} is not reserved for it`);
  return {
    network,
    container: containerId,
    ifname,
    addresses,
    ...placeOf(link),
    ...timeOf([file]),
    problems,
  };
}

/** Whether the network's reservations are here, and this is none of its. */
function reservedElsewhere(dataDirs: readonly string[], network: string, address: string): boolean {
  const here = dataDirs.filter((folder) => timeOf([`${folder}/${network}`]).since !== undefined);
  return here.length > 0 && here.every((folder) => timeOf([`${folder}/${network}/${address}`]).since === undefined);
}

function ofFound(
  { label, id, linked, addresses, things }: Found,
  isTold: boolean,
  dataDirs: readonly string[],
): AttachmentState {
  const name = things.find((thing) => thing.startsWith("link "))?.slice("link ".length);
  const link = name === undefined ? undefined : findLink(host, name);
  const own = [...new Set(addresses)];
  const files = own.flatMap((address) => dataDirs.map((folder) => `${folder}/${id?.network}/${address}`));
  const rest = things.filter((thing) => !thing.startsWith("link ")).join(", ");
  const problems: string[] = [];
  if (!linked) problems.push(`it has no link, but ${rest || "nothing else"}`);
  else if (isTold) problems.push("no runtime remembers it");
  return {
    network: id?.network ?? "?",
    container: id?.containerId ?? label,
    ifname: id?.ifname ?? "?",
    addresses: own,
    ...placeOf(link),
    ...timeOf(files),
    problems,
  };
}

function placeOf(link: ReturnType<typeof findLink>): Pick<AttachmentState, "link" | "bridge"> {
  if (!link) return {};
  const master = link.master === undefined ? undefined : findLink(host, link.master)?.name;
  return { link: link.name, ...(master ? { bridge: master } : {}) };
}

/** When the first of these files that is there was written. */
function timeOf(files: readonly string[]): Pick<AttachmentState, "since"> {
  for (const file of files) {
    const there = statSync(file, { throwIfNoEntry: false });
    if (there) return { since: Math.round(there.mtimeMs) };
  }
  return {};
}
