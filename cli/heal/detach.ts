// Takes an attachment off the host by the plugins' own DEL, as a runtime would, with nothing but its name: for what no runtime
// will ever take down. The executables do it, so that other suites' plugins in a list have their turn.
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import type { Attachment, Step } from "./attachments.ts";

/** What a DEL needs to know. */
export type Detachable = Pick<Attachment, "network" | "containerId" | "ifname" | "steps" | "args">;

/** Runs DEL of every plugin of the list, the last one first, whatever becomes of the others; throws what failed. */
export async function detach({ containerId, ifname, args, steps }: Detachable, folders: readonly string[]) {
  const errors: Error[] = [];
  for (const { type, json } of [...steps].reverse()) {
    try {
      const path = await findExecutable(type, folders);
      const env = {
        CNI_COMMAND: "DEL",
        CNI_CONTAINERID: containerId,
        CNI_NETNS: "",
        CNI_IFNAME: ifname,
        CNI_ARGS: args,
        CNI_PATH: folders.join(":"),
        PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin",
      };
      await execa(path, [], { env, extendEnv: false, input: JSON.stringify(json), timeout: 60_000 });
    } catch (error) {
      const said = (error as { stdout?: unknown }).stdout;
      errors.push(new Error(`Cannot run DEL of ${type}: ${said || (error as Error).message}`));
    }
  }
  if (errors.length > 0) throw new AggregateError(errors, errors.map(({ message }) => message).join("; "));
}

async function findExecutable(type: string, folders: readonly string[]): Promise<string> {
  for (const folder of folders) {
    const path = join(folder, type);
    if (await stat(path).catch(() => undefined)) return path;
  }
  throw new Error(`there is no such plugin in ${folders.join(":")}`);
}

/**
 * The list by which whatever this suite leaves is removed, for attachments whose own list nobody remembers: each plugin asked
 * for all that it can have made.
 */
export function anySteps(network: string, dataDirs: readonly string[]): Step[] {
  const conf = (type: string, rest: object = {}): Step => ({
    type,
    json: { cniVersion: "1.0.0", name: network, type, ...rest },
  });
  return [
    ...dataDirs.map((dataDir) => conf("host-local", { ipam: { type: "host-local", dataDir } })),
    conf("bridge", { ipMasq: true, macspoofchk: true }),
    conf("portmap"),
    conf("firewall"),
    conf("bandwidth"),
    conf("tuning"),
  ];
}
