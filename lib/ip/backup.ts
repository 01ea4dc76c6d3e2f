// What a link was before it was tuned: DIRECTORY/CONTAINER_IFNAME.json, in the reference's format, so that each suite
// restores what the other changed:
//
//   { "mac": "c6:7b:46:a2:31:2b", "promisc": false, "mtu": 1500, "allmulti": false, "txQLen": 1000 }
//
// with an indentation of one space and only what was changed. A key "tenon" follows, which the reference passes over:
// settings below /proc/sys/net, and whose file it is, for GC.
import type { Attachment } from "../cni/request.ts";
import {
  close,
  list,
  makeDirectory,
  O_DIRECTORY,
  O_RDONLY,
  open,
  readTextIfAny,
  remove,
  replaceFile,
  status,
} from "../sys/file.ts";
import { isErrno, SystemError } from "../sys/libc.ts";
import type { Namespace } from "./pod.ts";
import type { Attributes, Settings } from "./tuning.ts";

export interface Backup extends Attributes {
  tenon?: {
    network: string;
    /** Which namespace: a file left by an earlier container of the same name is no backup of this one. */
    namespace: string;
    /** Whether the link was promiscuous; told whether that was changed or not. */
    promisc?: boolean;
    sysctl?: Settings;
  };
}

/** What tells a namespace from others that live now. */
export function namespaceId(ns: Namespace): string {
  return `${status("", ns.fd)?.inode}`;
}

const nameOf = ({ containerId, ifname }: Attachment): string => `${containerId}_${ifname}.json`;

/** The backup of an attachment; undefined if there is none, or nobody can read it. */
export function readBackup(directory: string, attachment: Attachment): Backup | undefined {
  return parse(readTextIfAny(`${directory}/${nameOf(attachment)}`));
}

/** Any text is a backup of what it says: a value of a wrong type counts as absent. */
function parse(text: string | undefined): Backup | undefined {
  let json: any;
  try {
    json = JSON.parse(text ?? "null");
  } catch {
    return undefined; // cut short: nothing to be learnt from it
  }
  if (typeof json !== "object" || json === null) return undefined;
  const some = <T>(value: T, type: string): T | undefined => (typeof value === type ? value : undefined);
  const { mac, promisc, mtu, allmulti, txQLen, tenon } = json;
  const whole = tenon && typeof tenon.network === "string" && typeof tenon.namespace === "string";
  const settings = Object.entries(whole && typeof tenon.sysctl === "object" ? (tenon.sysctl ?? {}) : {});
  return {
    mac: some(mac, "string"),
    promisc: some(promisc, "boolean"),
    mtu: some(mtu, "number"),
    allmulti: some(allmulti, "boolean"),
    txQLen: some(txQLen, "number"),
    tenon: whole
      ? {
          network: tenon.network,
          namespace: tenon.namespace,
          promisc: some(tenon.promisc, "boolean"),
          sysctl: Object.fromEntries(settings.filter(([, value]) => typeof value === "string")) as Settings,
        }
      : undefined,
  };
}

/** Writes a backup: under its name it is there whole or not at all. */
export function writeBackup(directory: string, attachment: Attachment, backup: Backup): void {
  const { mac, promisc, mtu, allmulti, txQLen, tenon } = backup;
  const text = JSON.stringify({ mac, promisc, mtu, allmulti, txQLen, tenon }, null, 1);
  makeDirectory(directory, 0o700);
  const name = nameOf(attachment);
  replaceFile(`${directory}/${name}`, text, { mode: 0o600, draft: `${directory}/.${name}` });
}

/** Removes the backup of an attachment; one that is not there is fine. */
export function removeBackup(directory: string, attachment: Attachment): void {
  try {
    remove(`${directory}/${nameOf(attachment)}`);
  } catch (error) {
    if (!isErrno(error, "ENOTDIR")) throw error;
  }
}

/**
 * GC: removes backups of attachments to this network that are not to be kept. What does not say whose it is, as the
 * reference's do not, stays.
 */
export function sweepBackups(directory: string, network: string, keep: readonly Attachment[]): void {
  const kept = new Set(keep.map(nameOf));
  for (const name of namesIn(directory)) {
    if (!name.endsWith(".json") || kept.has(name)) continue;
    const draft = name.startsWith(".") && !kept.has(name.slice(1));
    const owner = parse(readTextIfAny(`${directory}/${name}`))?.tenon?.network;
    // A draft is what a process left that was ended while it wrote.
    if (owner === network || (draft && owner === undefined)) remove(`${directory}/${name}`);
  }
}

function namesIn(directory: string): string[] {
  let fd: number;
  try {
    fd = open(directory, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (error instanceof SystemError && isErrno(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
  try {
    return list(fd);
  } finally {
    close(fd);
  }
}
