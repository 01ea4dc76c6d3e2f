#!/usr/bin/env bun
// tuning: changes attributes of the container's interface and settings below /proc/sys/net, and changes them back.
// https://www.cni.dev/plugins/current/meta/tuning/
import { any, bool, config, int, mac, object, parseArgs, string, type Type } from "../lib/cni/config.ts";
import { badConfig, CniError, codes, toCniError, transaction } from "../lib/cni/errors.ts";
import { firstRepeated, keysAt } from "../lib/cni/json-keys.ts";
import { main } from "../lib/cni/main.ts";
import type { Plugin, Request } from "../lib/cni/request.ts";
import type { Result } from "../lib/cni/result.ts";
import { assertAllowed } from "../lib/ip/allowlist.ts";
import { namespaceId, readBackup, removeBackup, sweepBackups, writeBackup } from "../lib/ip/backup.ts";
import { findLink, isPromiscuous } from "../lib/ip/link.ts";
import { announceMac, inPod, inPodIfAny } from "../lib/ip/pod.ts";
import {
  type Attributes,
  assertTuned,
  attributesOf,
  readSettings,
  restore,
  type Settings,
  settingName,
  tuneLink,
  writeSettings,
} from "../lib/ip/tuning.ts";

const allowlist = "/etc/cni/tuning/allowlist.conf";

/** Settings with their values, in order. */
const settings: Type<[key: string, value: string][]> = {
  schema: { type: "object", additionalProperties: { type: "string" } },
  read(value, key) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw badConfig(key, value, "must be an object of settings and their values");
    }
    return Object.entries(value).map(([name, text]) => [name, string.read(text, `${key}.${name}`, {})]);
  },
};

const tunable = {
  sysctl: [settings, "settings below net, as net.ipv4.conf.IFNAME.arp_filter: IFNAME stands for the interface's name"],
  mac: [mac, "MAC address"],
  mtu: [int, { min: 0, max: 0x7fffffff }, "MTU; 0 leaves it"],
  promisc: [bool, "true: promiscuous"],
  allmulti: [bool, "whether all multicast frames are received"],
  txQLen: [int, { min: 0, max: 0xffffffff }, "length of the transmit queue"],
} as const;

const conf = config({
  ...tunable,
  dataDir: [string, { default: "/run/cni/tuning" }, "folder that holds what interfaces were before, until DEL"],
  runtimeConfig: [object({ mac: [mac, "MAC address: before that of CNI_ARGS and mac"] }), "capabilities"],
  args: [object({ cni: [object(tunable), "each instead of the key of the same name"] }), "arguments"],
  capabilities: [any, "accepted: the runtime's concern"],
});

type TuningRequest = Request<typeof conf>;

/** What the interface and its namespace are to be: ADD makes it so, CHECK compares with it. */
function wanted({ conf, args, ifname, stdin }: TuningRequest): { attributes: Attributes; settings: Settings } {
  const over = conf.args?.cni;
  const named = mac.read(parseArgs(args, ["MAC"]).MAC ?? "", "CNI_ARGS MAC", {});
  const promisc = over?.promisc ?? conf.promisc;
  const attributes: Attributes = {
    mac: over?.mac ?? conf.runtimeConfig?.mac ?? named ?? conf.mac,
    // False is no wish: the key's default always was, for whatever the interface is.
    promisc: promisc || undefined,
    mtu: (over?.mtu ?? conf.mtu) || undefined,
    allmulti: over?.allmulti ?? conf.allmulti,
    txQLen: over?.txQLen ?? conf.txQLen,
  };
  const all = [...(conf.sysctl ?? []), ...(over?.sysctl ?? [])];
  if (conf.sysctl || over?.sysctl) {
    assertNoneTwice(new TextDecoder().decode(stdin), ifname);
    const keys = all.map(([key]) => key);
    assertAllowed(keys, allowlist);
  }
  const entries = all.map(([key, value]) => [settingName(key, ifname), value]);
  return { attributes, settings: Object.fromEntries(entries) };
}

/** Refuses what stands twice, be it in two spellings: which value is meant, nobody can tell, and JSON.parse drops one. */
function assertNoneTwice(text: string, ifname: string): void {
  for (const above of [[], ["args", "cni"]]) {
    const path = [...above, "sysctl"].join(".");
    if (keysAt(text, above).filter((key) => key.toLowerCase() === "sysctl").length > 1) {
      throw badConfig(path, "sysctl", "it is there twice");
    }
    const twice = firstRepeated(keysAt(text, [...above, "sysctl"]), (key) => settingName(key, ifname));
    if (twice !== undefined) throw badConfig(path, twice, "it is there twice");
  }
}

function folderOf({ conf }: TuningRequest): string {
  return conf.dataDir || "/run/cni/tuning";
}

const isEmpty = (object: object): boolean => Object.values(object).every((value) => value === undefined);

function add(request: TuningRequest): Result {
  const { netns, ifname, network, prevResult } = request;
  const { attributes, settings } = wanted(request);
  if (!prevResult) throw badConfig("prevResult", undefined, "it is required: another plugin makes the interface first");
  const folder = folderOf(request);
  return inPod(netns, (pod) =>
    transaction((undo) => {
      const link = findLink(pod, ifname);
      const change = !isEmpty(attributes);
      if (change && !link) {
        throw new CniError(codes.systemFailure, `Cannot use CNI_IFNAME "${ifname}": the container has no such link`);
      }
      if (change || !isEmpty(settings)) {
        const before = link ? attributesOf(link, attributes) : {};
        const sysctl = readSettings(pod, Object.keys(settings));
        const promisc = link && isPromiscuous(link);
        const namespace = namespaceId(pod);
        const earlier = readBackup(folder, request);
        // This plugin may stand twice in a list: what the interface was before the first of them counts.
        const same = earlier?.tenon?.namespace === namespace ? earlier : undefined;
        undo(() => (earlier ? writeBackup(folder, request, earlier) : removeBackup(folder, request)));
        writeBackup(folder, request, {
          ...before,
          ...defined(same ?? {}),
          tenon: { network, namespace, promisc, ...same?.tenon, sysctl: some({ ...sysctl, ...same?.tenon?.sysctl }) },
        });
        undo(() => restore(pod, ifname, before, sysctl));
        writeSettings(pod, settings);
        if (attributes.mac) announceMac(pod, ifname);
        if (link) tuneLink(pod, link.index, attributes);
      }
      return updated(prevResult, ifname, attributes);
    }),
  );
}

const defined = <T extends object>(object: T): Partial<T> =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Partial<T>;

const some = (settings: Settings): Settings | undefined => (isEmpty(settings) ? undefined : settings);

/** The result with what has changed of it. */
function updated(result: Result, ifname: string, { mac, mtu }: Attributes): Result {
  const interfaces = result.interfaces?.map((one) => {
    if (one.name !== ifname) return one;
    return { ...one, mac: mac ?? one.mac, mtu: one.mtu === undefined ? undefined : (mtu ?? one.mtu) };
  });
  return { ...result, interfaces };
}

function check(request: TuningRequest): void {
  const { netns, ifname, prevResult } = request;
  const { attributes, settings } = wanted(request);
  if (!prevResult) throw badConfig("prevResult", undefined, "CHECK needs the result of ADD");
  inPod(netns, (pod) => {
    const link = findLink(pod, ifname);
    if (!link) throw new CniError(codes.checkFailed, `Cannot use link "${ifname}": it is not in the container`);
    assertTuned(pod, link, attributes, settings);
    const backup = readBackup(folderOf(request), request);
    const quiet = backup?.tenon?.promisc === false && backup.promisc === undefined;
    if (quiet && isPromiscuous(link)) {
      throw new CniError(codes.checkFailed, `Cannot use link "${ifname}": it has become promiscuous`);
    }
  });
}

function del(request: TuningRequest): void {
  const { netns, ifname, network } = request;
  const folder = folderOf(request);
  // The container goes away, and must: whoever wonders finds it in the log.
  const attempt = (step: () => void) => {
    try {
      step();
    } catch (error) {
      request.warn(`Cannot restore "${ifname}" of "${request.containerId}": ${toCniError(error).message}`);
    }
  };
  attempt(() => {
    const backup = readBackup(folder, request);
    if (backup?.tenon && backup.tenon.network !== network) return;
    if (backup) {
      const { namespace, sysctl = {} } = backup.tenon ?? {};
      attempt(() =>
        inPodIfAny(netns, (pod) => {
          // The path may lead to another container by now: a process's number is given again.
          if (namespace === undefined || namespace === namespaceId(pod)) restore(pod, ifname, backup, sysctl);
        }),
      );
    }
    removeBackup(folder, request);
  });
}

export const plugin: Plugin<typeof conf> = {
  conf,
  add,
  check,
  del,
  gc: (request) => sweepBackups(folderOf(request), request.network, request.validAttachments!),
  status: (request) => {
    wanted(request);
  },
};

if (import.meta.main) main(plugin);
