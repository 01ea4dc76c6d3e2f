// Values that a plugin would refuse, by the very tables that it reads them with; and some that contradict each other.
import { type Fields, optionsOf } from "../../lib/cni/config.ts";
import { CniError } from "../../lib/cni/errors.ts";
import type { Suite } from "../../lib/cni/request.ts";
import { type Conf, type Document, type Entry, isObject, valueAt } from "./document.ts";
import { join, type Report } from "./finding.ts";

export function checkValues({ entries }: Document, suite: Suite, report: Report): void {
  for (const entry of entries) {
    const plugin = Object.hasOwn(suite, entry.type) ? suite[entry.type] : undefined;
    if (!plugin) continue;
    checkTable(plugin.conf, entry.conf, entry.path, report);
    const giver = entry.ipam && Object.hasOwn(suite, entry.ipam) ? suite[entry.ipam]!.conf : undefined;
    if (giver?.ipam) checkTable({ ipam: giver.ipam }, entry.conf, entry.path, report);
    checkTogether(entry, report);
  }
}

function checkTable(fields: Fields, conf: Conf, path: string, report: Report): void {
  for (const [key, field] of Object.entries(fields)) {
    const options = optionsOf(field);
    const value = valueAt(conf, key);
    if (value === undefined) {
      if (options.required) report("error", "missing-key", join(path, key), "It is required");
      continue;
    }
    try {
      const read: unknown = field[0].read(value, key, options);
      // Some are read when a verb asks for them.
      if (typeof read === "function") read();
    } catch (error) {
      if (!(error instanceof CniError)) throw error;
      reportRefusal(error, key, path, report);
    }
  }
}

/** Says of a refusal where it is: "Cannot use KEY VALUE: REASON" names the key. */
export function reportRefusal({ message }: CniError, key: string, path: string, report: Report): void {
  const [, named] = /^Cannot use (\S+) /.exec(message) ?? [];
  const within = named?.startsWith(key) ? named : key;
  report("error", "wrong-value", join(path, within), message);
}

function checkTogether({ type, conf, path, ipam }: Entry, report: Report): void {
  const refuse = (key: string, message: string, hint?: string) =>
    report("error", "contradiction", join(path, key), message, hint);
  if (type === "bridge") {
    if (valueAt(conf, "hairpinMode") === true && valueAt(conf, "promiscMode") === true)
      refuse("promiscMode", "Not together with hairpinMode: each lets a pod reach itself", "hairpinMode is enough");
    if (valueAt(conf, "disableContainerInterface") === true && ipam)
      refuse("disableContainerInterface", "Not together with ipam: an interface that is down has no use for addresses");
  }
  if (type === "bandwidth") {
    for (const way of ["ingress", "egress"]) {
      const rate = valueAt(conf, `${way}Rate`);
      const burst = valueAt(conf, `${way}Burst`);
      if (rate && !burst) refuse(`${way}Rate`, `Only with ${way}Burst`, "the reference's users often take 4294967295");
      if (burst && !rate) refuse(`${way}Burst`, `Only with ${way}Rate`);
    }
    const lists = ["shapedSubnets", "unshapedSubnets"].map((key) => valueAt(conf, key));
    if (lists.every((list) => Array.isArray(list) && list.length > 0))
      refuse("unshapedSubnets", "Not together with shapedSubnets: each says what of the other networks");
  }
  if (type === "ptp" && !ipam)
    refuse("ipam", "There must be an IPAM plugin", 'as "ipam": { "type": "host-local", "subnet": "10.0.0.0/24" }');
  const settings = valueAt(conf, "sysctl");
  if (type === "tuning" && isObject(settings))
    for (const name of Object.keys(settings))
      if (!/^net[./]/.test(name)) refuse("sysctl", `Cannot set ${name}: only what is below net`);
}
