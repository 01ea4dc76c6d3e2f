// What is changed of a link and its namespace after they were made, and changed back: link attributes and settings below
// /proc/sys/net. Names and order of the attributes are those of the reference's backup files (lib/ip/backup.ts).
import { badConfig, CniError, codes, runAll, toCniError } from "../cni/errors.ts";
import { changeLink, IFF_ALLMULTI, IFF_PROMISC, type Link } from "../netlink/rtnl/link.ts";
import type { Message } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import { readText, writeText } from "../sys/file.ts";
import { isErrno } from "../sys/libc.ts";
import { findLink } from "./link.ts";

/** Attributes of a link; what is undefined is left as it is. */
export interface Attributes {
  mac?: string;
  promisc?: boolean;
  mtu?: number;
  allmulti?: boolean;
  txQLen?: number;
}

/** Settings by their names below /proc/sys/net, "ipv4/conf/eth0/arp_filter". */
export type Settings = Record<string, string>;

const root = "/proc/sys/net/";

/**
 * The name below /proc/sys/net of what a configuration calls "net.ipv4.conf.IFNAME.arp_filter". Dots stand for slashes,
 * but not those of the interface's own name.
 */
export function settingName(key: string, ifname: string): string {
  const refuse = (reason: string) => badConfig("sysctl", key, reason);
  const separated = (text: string) => text.replace(/[./]+/g, "/");
  const marked = ifname.includes(".") ? markName(key, ifname) : key;
  const name = separated(marked).replace("IFNAME", () => ifname);
  const [first, ...rest] = name.split("/").filter((part) => part !== "");
  // The interface's name may put dots back: what climbs out of the folder is caught here.
  if (first !== "net" || rest.length === 0) throw refuse("it must be below net, as net.ipv4.ip_forward");
  if (rest.some((part) => part === "." || part === ".." || part.includes("\0"))) throw refuse("it is no path");
  return rest.join("/");
}

/** Puts the mark for the interface's name where the name itself stands as a part of the key. */
function markName(key: string, ifname: string): string {
  const at = key.indexOf(ifname);
  const isPart = /[./]/.test(key[at - 1] ?? "") && /[./]/.test(key[at + ifname.length] ?? "");
  return at >= 0 && isPart ? `${key.slice(0, at)}IFNAME${key.slice(at + ifname.length)}` : key;
}

/** The attributes that a link has now, of those in `like`. */
export function attributesOf(link: Link, like: Attributes): Attributes {
  const now: Attributes = {
    mac: link.mac,
    promisc: (link.flags & IFF_PROMISC) !== 0,
    mtu: link.mtu,
    allmulti: (link.flags & IFF_ALLMULTI) !== 0,
    txQLen: link.txQueueLength,
  };
  return only(now, (key) => like[key] !== undefined);
}

function only(attributes: Attributes, keep: (key: keyof Attributes) => boolean): Attributes {
  const entries = Object.entries(attributes).filter(([key]) => keep(key as keyof Attributes));
  return Object.fromEntries(entries) as Attributes;
}

/** What settings are now. Those that can be written only are left out; one that the kernel lacks is an error. */
export function readSettings(ns: Namespace, names: readonly string[]): Settings {
  const settings: Settings = {};
  ns.run(() => {
    for (const name of names) {
      try {
        settings[name] = readText(root + name).trimEnd();
      } catch (error) {
        if (isErrno(error, "ENOENT", "ENOTDIR")) throw badConfig("sysctl", name, "the kernel has no such setting");
        if (!isErrno(error, "EACCES", "EPERM", "EINVAL", "EIO")) throw error;
      }
    }
  });
  return settings;
}

/** Writes settings, in order. */
export function writeSettings(ns: Namespace, settings: Settings): void {
  for (const name in settings) writeSetting(ns, name, settings[name]!);
}

function writeSetting(ns: Namespace, name: string, value: string): void {
  try {
    ns.run(() => writeText(root + name, value));
  } catch (error) {
    const code = isErrno(error, "EINVAL", "ERANGE") ? codes.invalidConfig : codes.systemFailure;
    throw new CniError(code, `Cannot set sysctl "${name}" to "${value}": ${toCniError(error).message}`, {
      cause: error,
    });
  }
}

/** The message for each attribute, apart, so that a refusal tells which. */
function changes(index: number, { mac, promisc, mtu, allmulti, txQLen }: Attributes): Message[] {
  const flag = (on: boolean, bit: number) => changeLink({ index, flags: on ? bit : 0, change: bit });
  const named = (what: string, message: Message): Message => ({ ...message, label: `set ${what} of link ${index}` });
  return [
    ...(mac === undefined ? [] : [named(`mac ${mac}`, changeLink({ index, mac }))]),
    ...(promisc === undefined ? [] : [named(`promisc ${promisc}`, flag(promisc, IFF_PROMISC))]),
    ...(mtu === undefined ? [] : [named(`mtu ${mtu}`, changeLink({ index, mtu }))]),
    ...(allmulti === undefined ? [] : [named(`allmulti ${allmulti}`, flag(allmulti, IFF_ALLMULTI))]),
    ...(txQLen === undefined ? [] : [named(`txQLen ${txQLen}`, changeLink({ index, txQueueLength: txQLen }))]),
  ];
}

/** Gives a link these attributes. */
export function tuneLink(ns: Namespace, index: number, attributes: Attributes): void {
  ns.route.request(...changes(index, attributes));
}

/** Changes everything back, as far as it goes: what is gone with its link is fine, other failures are thrown at the end. */
export function restore(ns: Namespace, ifname: string, attributes: Attributes, settings: Settings): void {
  const link = findLink(ns, ifname);
  const steps = link ? changes(link.index, attributes).map((message) => () => void ns.route.request(message)) : [];
  for (const name of Object.keys(settings).reverse()) {
    steps.push(() => {
      try {
        ns.run(() => writeText(root + name, settings[name]!));
      } catch (error) {
        if (!isErrno(error, "ENOENT")) throw error;
      }
    });
  }
  runAll("restoring", steps);
}

/** Throws, with code 101, unless the link has these attributes and the namespace these settings. */
export function assertTuned(ns: Namespace, link: Link | undefined, wanted: Attributes, settings: Settings): void {
  const differs = (what: string, is: unknown, be: unknown) =>
    new CniError(codes.checkFailed, `Cannot accept ${what} ${JSON.stringify(is)}: must be ${JSON.stringify(be)}`);
  if (link) {
    const now = attributesOf(link, wanted);
    for (const key of Object.keys(now) as (keyof Attributes)[]) {
      if (now[key] !== wanted[key]) throw differs(key, now[key], wanted[key]);
    }
  }
  const now = readSettings(ns, Object.keys(settings));
  for (const name in now) {
    // The kernel tells several values with a tab between, whatever they were set with.
    const words = (text: string) => text.trim().split(/\s+/).join(" ");
    if (words(now[name]!) !== words(settings[name]!)) throw differs(`sysctl "${name}"`, now[name], settings[name]);
  }
}
