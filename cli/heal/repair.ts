// One pass of repair: each part that an attachment has on the host is looked at and, where it is missing, made again.
// In this process, as nothing here enters a pod's namespace.
import { stat } from "node:fs/promises";
import { suite } from "../../build/plugins.ts";
import { makeRequest, type Part } from "../../lib/cni/request.ts";
import { findLink } from "../../lib/ip/link.ts";
import { host } from "../../lib/netns/netns.ts";
import { type Attachment, isOurs } from "./attachments.ts";

/** A part that was looked at and found missing or different. */
export interface Repair {
  kind: string;
  name: string;
  /** What the look said. */
  why: string;
  /** Why it could not be made again. */
  failure?: string;
}

/** The parts of an attachment, in the order of its list; none of plugins that are not of this suite. */
export function partsOf({ steps, containerId, ifname, args }: Attachment): Part[] {
  const environment = { CNI_COMMAND: "CHECK", CNI_CONTAINERID: containerId, CNI_IFNAME: ifname, CNI_ARGS: args };
  return steps.flatMap(({ type, json }) => {
    const plugin = Object.hasOwn(suite, type) ? suite[type] : undefined;
    if (!plugin?.parts) return [];
    return plugin.parts(makeRequest(plugin, "CHECK", environment, json, new Uint8Array(0), suite));
  });
}

/** Looks at one part, and makes it again unless `dry`. Undefined where all is well. */
export function repairPart({ kind, name, check, ensure }: Part, dry = false): Repair | undefined {
  const why = problemOf(check);
  if (why === undefined) return undefined;
  if (dry) return { kind, name, why };
  const attempt = (whole: boolean) => problemOf(() => ensure(whole)) ?? problemOf(check);
  // Elements alone, as a rule: what all attachments share is there, or was made again for the first of them.
  const failure = attempt(false) && attempt(true);
  return { kind, name, why, ...(failure === undefined ? {} : { failure }) };
}

function problemOf(body: () => void): string | undefined {
  try {
    body();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** A part's name among all parts: what attachments share has the same. */
export const keyOf = ({ kind, name }: Pick<Part, "kind" | "name">): string => `${kind} ${name}`;

export interface Options {
  /** Look only. */
  dry?: boolean;
  /** Leaves a part alone. */
  skip?(part: Part): boolean;
}

/**
 * Repairs one attachment. Nothing is done for those of another suite, for those whose link is gone (a pod that is being taken
 * down, or one that only its runtime can put back), and for those that the runtime has forgotten since they were read.
 */
export async function repairAttachment(attachment: Attachment, { dry, skip }: Options = {}): Promise<Repair[]> {
  if (!isOurs(attachment) || !(await isKnown(attachment)) || !findLink(host, attachment.hostName)) return [];
  let parts: Part[];
  try {
    parts = partsOf(attachment);
  } catch (error) {
    const why = (error as Error).message;
    return [{ kind: "attachment", name: attachment.label, why, failure: why }];
  }
  const repairs = repairParts(parts, { dry, skip });
  const isTakenDown = repairs.some(({ failure }) => failure !== undefined) && !findLink(host, attachment.hostName);
  return isTakenDown ? repairs.filter(({ failure }) => failure === undefined) : repairs;
}

/** Repairs parts in their order. */
export function repairParts(parts: readonly Part[], { dry, skip }: Options = {}): Repair[] {
  return parts.flatMap((part) => (skip?.(part) ? [] : (repairPart(part, dry) ?? [])));
}

/** Whether the runtime's library still remembers the attachment. */
export function isKnown({ file }: Attachment): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/** Repairs many, one after the other, what they share once; other work of the process goes on in between. */
export async function repairAll(
  attachments: readonly Attachment[],
  { dry, skip }: Options = {},
  repaired: (repairs: Repair[], attachment: Attachment) => void,
): Promise<void> {
  const seen = new Set<string>();
  for (const attachment of attachments) {
    const isDone = (part: Part) => {
      const key = keyOf(part);
      if (seen.has(key) || skip?.(part)) return true;
      seen.add(key);
      return false;
    };
    const repairs = await repairAttachment(attachment, { dry, skip: isDone });
    if (repairs.length > 0) repaired(repairs, attachment);
  }
}
