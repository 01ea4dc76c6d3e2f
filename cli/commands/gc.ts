// tenon gc: what pods that are gone have left on this node, and its removal.
import { livingAddresses } from "../../lib/ipam/living.ts";
import { command, dataDirs, json, printJson, table } from "../command.ts";
import type { Found } from "../heal/found.ts";
import { look, sweep } from "../heal/sweep.ts";

export const gc = command({
  name: "gc",
  summary: "what pods that are gone have left on this node, and its removal",
  options: {
    "dry-run": { short: "n", about: "look only" },
    network: { value: "NAME", word: "network", several: true, about: "of these networks alone" },
    "plugin-dir": { value: "FOLDER", word: "directory", several: true, about: "of plugins; default: /opt/cni/bin" },
    ...dataDirs,
    state: { value: "FILE", word: "file", about: "who has been silent since when; default: /var/lib/tenon/sweep.json" },
    living: { about: "for the agent: nothing but the addresses in use in this node's namespaces, as numbers" },
    ...json,
  },
  more: `An attachment is dead if its namespace is gone, no runtime remembers or knows it, and that for 15 minutes in two looks
at least. If a runtime cannot be asked, or knows nothing, or too many are dead at once, nothing is removed.

Exit status: 0, nothing is left or all of it was removed; 1, something is left, or nothing could be told.`,
  async run({ "dry-run": dry = false, network = [], "plugin-dir": plugins, "data-dir": folders, state, living, json }) {
    if (living) {
      process.stdout.write([...livingAddresses(), "all"].join("\n"));
      return 0;
    }
    const options = {
      ...(plugins ? { plugins } : {}),
      ...(folders ? { dataDirs: folders } : {}),
      ...(state ? { state } : {}),
    };
    const report = await look(options, dry);
    const byLabel = new Map(report.found.map((one) => [one.label, one]));
    const isAsked = (label: string) => network.length === 0 || network.includes(byLabel.get(label)?.id?.network ?? "");
    const chosen = { ...report, dead: report.dead.filter(isAsked), waiting: report.waiting.filter(isAsked) };
    const removed = dry ? [] : await sweep(chosen, options);
    const alive = report.suspects.filter(({ label, alive }) => alive !== undefined && isAsked(label)).length;
    const { dead, waiting, refusals } = chosen;
    if (json) {
      const things = (labels: string[]) => labels.map((label) => ({ label, things: byLabel.get(label)?.things ?? [] }));
      printJson({ dead: things(dead), waiting: things(waiting), alive, refusals, removed });
    } else {
      const failures = new Map(removed.map(({ label, failure }) => [label, failure]));
      const told = (label: string) => (dry ? "would be removed" : (failures.get(label) ?? "removed"));
      const rows = [
        ...dead.map((label) => [label, told(label), thingsOf(byLabel.get(label))]),
        ...waiting.map((label) => [label, "left for now", thingsOf(byLabel.get(label))]),
      ];
      if (rows.length > 0) process.stdout.write(table(["attachment", "", "what there is of it"], rows));
      for (const refusal of refusals) process.stdout.write(`Nothing is removed: ${refusal}\n`);
      process.stdout.write(`${alive} alive, ${dead.length} dead, ${waiting.length} silent\n`);
    }
    const isLeft = (dry && dead.length > 0) || removed.some(({ failure }) => failure !== undefined);
    return isLeft || waiting.length > 0 || refusals.length > 0 ? 1 : 0;
  },
});

const thingsOf = (found: Found | undefined) => [...new Set(found?.things)].join(", ");
