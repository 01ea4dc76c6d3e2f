// One pass of repair: each part that an attachment has on the host is looked at and, where it is missing, made again.
// In this process; but who enters no pod's namespace has others do what is to be done there.
import { stat } from "node:fs/promises";
import { suite } from "../../build/plugins.ts";
import { makeRequest, type Part } from "../../lib/cni/request.ts";
import { findLink, removeLink } from "../../lib/ip/link.ts";
import { isPodThere } from "../../lib/ip/replug.ts";
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

/** Built once for each attachment as it was read. */
const built = new WeakMap<Attachment, Part[]>();

/** The parts of an attachment, in the order of its list; none of plugins that are not of this suite. */
export function partsOf(attachment: Attachment): Part[] {
  let parts = built.get(attachment);
  if (!parts) {
    const { steps, containerId, ifname, args } = attachment;
    const environment = { CNI_COMMAND: "CHECK", CNI_CONTAINERID: containerId, CNI_IFNAME: ifname, CNI_ARGS: args };
    parts = steps.flatMap(({ type, json }) => {
      const plugin = Object.hasOwn(suite, type) ? suite[type] : undefined;
      if (!plugin?.parts) return [];
      return plugin.parts(makeRequest(plugin, "CHECK", environment, json, new Uint8Array(0), suite));
    });
    built.set(attachment, parts);
  }
  return parts;
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
  /** Takes over attachments of which something inside the pod is missing. Default: they are repaired in this process. */
  handOver?(attachments: readonly Attachment[]): void;
}

/** A part that was missing, and what became of the first attempt to make it again. */
interface Attempt {
  part: Part;
  why: string;
  refusal?: string;
}

/** Looks at parts in their order, and makes again what is missing: its elements, as what all share is there as a rule. */
function attempt(parts: readonly Part[], { dry, skip }: Options): Attempt[] {
  const attempts: Attempt[] = [];
  for (const part of parts) {
    if (skip?.(part)) continue;
    const why = problemOf(part.check);
    if (why === undefined) continue;
    const refusal = dry ? undefined : problemOf(() => part.ensure(false));
    attempts.push({ part, why, ...(refusal === undefined ? {} : { refusal }) });
  }
  return attempts;
}

/** Looks whether the attempt did; if not, nothing is taken as given in a second one. */
function verify({ part: { kind, name, check, ensure }, why, refusal }: Attempt, dry = false): Repair {
  if (dry || (refusal === undefined && problemOf(check) === undefined)) return { kind, name, why };
  const failure = problemOf(() => ensure(true)) ?? problemOf(check);
  return { kind, name, why, ...(failure === undefined ? {} : { failure }) };
}

/** Repairs parts in their order. */
export function repairParts(parts: readonly Part[], options: Options = {}): Repair[] {
  return attempt(parts, options).map((one) => verify(one, options.dry));
}

const repairOf = ({ part: { kind, name }, why, refusal }: Attempt): Repair => ({
  kind,
  name,
  why,
  ...(refusal === undefined ? {} : { failure: refusal }),
});

/** Whether the runtime's library still remembers the attachment. */
export function isKnown({ file }: Attachment): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/** What became of a link that was gone: its index, if it is back. */
interface Relinked {
  attempts: Attempt[];
  index?: number;
}

/** Makes again what is inside the pod. Nothing of it stays if the runtime has taken the attachment down meanwhile. */
async function relink(attachment: Attachment, inside: readonly Part[], options: Options): Promise<Relinked> {
  const attempts = attempt(inside, options);
  const index = options.dry ? undefined : findLink(host, attachment.hostName)?.index;
  if (index === undefined || (await isKnown(attachment))) return { attempts, index };
  removeLink(host, { index });
  return { attempts: [] };
}

/**
 * Repairs attachments one after the other, what they share once; other work of the process goes on in between. Nothing is
 * done for those of another suite, for those whose link is gone and cannot be made again (a pod that is being taken down), and
 * for those that the runtime has forgotten since they were read; a link that was made behind its back goes. `repaired` is
 * called at the end, so that everybody's parts are back before the first is looked at a second time; with none where
 * something was tried for an attachment that was taken down meanwhile.
 */
export async function repairAll(
  attachments: readonly Attachment[],
  { dry, skip, handOver }: Options,
  repaired: (repairs: Repair[], attachment: Attachment) => void,
): Promise<void> {
  const seen = new Set<string>();
  const isDone = (part: Part) => {
    const key = keyOf(part);
    if (seen.has(key) || skip?.(part)) return true;
    seen.add(key);
    return false;
  };
  const begun: { attachment: Attachment; attempts: Attempt[]; made: number | undefined }[] = [];
  const handed: Attachment[] = [];
  for (const attachment of attachments) {
    if (!isOurs(attachment) || !(await isKnown(attachment))) continue;
    if (!isLinked(attachment) && !isPodThere(attachment.result, attachment.ifname)) continue;
    let parts: Part[];
    try {
      parts = partsOf(attachment);
    } catch (error) {
      const why = (error as Error).message;
      repaired([{ kind: "attachment", name: attachment.label, why, failure: why }], attachment);
      continue;
    }
    const inside = parts.filter((part) => part.inside);
    let link: Relinked = { attempts: [] };
    if (!isLinked(attachment)) {
      if (handOver && !dry) {
        if (inside.some((part) => !isDone(part))) handed.push(attachment);
        continue;
      }
      link = await relink(attachment, inside, { dry, skip: isDone });
      if (link.index === undefined) {
        const repairs = link.attempts.flatMap((one) => (dry || one.refusal !== undefined ? repairOf(one) : []));
        if (repairs.length > 0) repaired(repairs, attachment);
        continue;
      }
    }
    const rest = parts.filter((part) => !part.inside);
    const attempts = [...link.attempts, ...attempt(rest, { dry, skip: isDone })];
    if (attempts.length > 0) begun.push({ attachment, attempts, made: link.index });
  }
  if (handed.length > 0) handOver!(handed);
  for (const { attachment, attempts, made } of begun) {
    await new Promise(setImmediate);
    if (made !== undefined && !(await isKnown(attachment))) {
      removeLink(host, { index: made });
      repaired(attempts.map(repairOf), attachment); // told, so that who looks back removes the rest
      continue;
    }
    let repairs = attempts.map((one) => verify(one, dry));
    // Taken down meanwhile: no failure of ours, but what was tried may have left something.
    if (repairs.some(({ failure }) => failure !== undefined) && !isLinked(attachment))
      repairs = repairs.filter(({ failure }) => failure === undefined);
    repaired(repairs, attachment);
  }
}

const isLinked = ({ hostName }: Attachment) => findLink(host, hostName) !== undefined;
