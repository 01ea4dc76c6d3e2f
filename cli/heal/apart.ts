// Repair in a process of its own, which enters the pods: `tenon repair` of this very program, for a few attachments.
import { dirname } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import type { Attachment } from "./attachments.ts";
import { tenon } from "./living-apart.ts";
import type { Repair } from "./repair.ts";

const said = z.object({
  repairs: z.array(
    z.object({
      kind: z.string(),
      name: z.string(),
      why: z.string(),
      failure: z.string().optional(),
      attachment: z.string().optional(),
    }),
  ),
});

/** Repairs these attachments, with all of their parts; what was done for whom. Throws if that cannot be told. */
export async function repairApart(
  attachments: readonly Attachment[],
  command: readonly string[] = tenon(),
): Promise<[Attachment, Repair[]][]> {
  const [program, ...args] = [...command, "repair", "--json"];
  for (const folder of new Set(attachments.map(({ file }) => dirname(file)))) args.push("--cache", folder);
  for (const { label } of attachments) args.push("--attachment", label);
  const { stdout, stderr, shortMessage } = await execa(program!, args, { reject: false, timeout: 30_000 });
  let answer: z.infer<typeof said>;
  try {
    answer = said.parse(JSON.parse(stdout));
  } catch {
    throw new Error(`Cannot run ${program} repair: ${stderr || shortMessage || stdout}`);
  }
  return attachments.map((one) => {
    const own = answer.repairs.filter(({ attachment }) => attachment === one.label);
    return [one, own.map(({ attachment: _, ...repair }) => repair as Repair)];
  });
}
