// tenon repair: once what the agent does all the time.

import { caches, command, json, printJson, table } from "../command.ts";
import { type Attachment, Caches } from "../heal/attachments.ts";
import { Peers } from "../heal/peers.ts";
import { type Repair, repairAll, repairParts } from "../heal/repair.ts";
import { forgetUnhidden } from "../heal/unhidden.ts";

export const repair = command({
  name: "repair",
  summary: "brings back what others took away from pods and networks on this host, once",
  options: {
    ...caches,
    attachment: {
      value: "NETWORK/CONTAINER/INTERFACE",
      several: true,
      about: "only this one, and nothing of the paths to other nodes",
    },
    "dry-run": { about: "look only" },
    ...json,
  },
  more: "Exit status 1 if something cannot be brought back, or with --dry-run if something is missing.",
  async run({ cache = ["/var/lib/cni/results"], attachment: only, "dry-run": dry = false, json }) {
    const { attachments: all, problem } = await new Caches(cache).read();
    const attachments = only ? all.filter(({ label }) => only.includes(label)) : all;
    const repairs: (Repair & { attachment?: string })[] = [];
    if (!only) {
      const peers = new Peers();
      peers.refresh();
      repairs.push(...repairParts(peers.parts(), { dry }));
    }
    const hidden: Attachment[] = [];
    await repairAll(attachments, { dry }, (some, attachment) => {
      repairs.push(...some.map((one) => ({ ...one, attachment: attachment.label })));
      if (some.some(({ kind }) => kind === "masquerade")) hidden.push(attachment);
    });
    if (!dry && hidden.length > 0) forgetUnhidden(hidden);
    if (json) printJson({ repairs, ...(problem ? { problem } : {}) });
    else {
      if (problem) process.stderr.write(`${problem}\n`);
      const rows = repairs.map(({ kind, name, why, failure }) => [kind, name, result(dry, failure), failure ?? why]);
      process.stdout.write(rows.length > 0 ? table(["what", "which", "", "why"], rows) : "Nothing is missing.\n");
    }
    return (dry && repairs.length > 0) || problem || repairs.some(({ failure }) => failure !== undefined) ? 1 : 0;
  },
});

function result(dry: boolean, failure: string | undefined): string {
  if (dry) return "missing";
  return failure === undefined ? "back" : "failed";
}
