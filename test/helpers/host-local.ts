// host-local as a process of its own, ours and the reference's, on folders of the test's: it needs neither root nor a node.
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { referenceDir } from "../../scripts/reference.ts";
import { pluginFolder } from "./plugin-folder.ts";

export const ours = join(await pluginFolder("host-local"), "host-local");
export const reference = join(referenceDir().dir, "host-local");

export interface Outcome {
  exitCode: number | null;
  stdout: string;
  stderr: string;
  /** stdout as JSON; undefined where it is empty. */
  json: any;
}

export interface Call {
  bin?: string;
  args?: string;
  /** Kills the process with SIGKILL after so many milliseconds. */
  killAfter?: number;
}

/** Runs `verb` for an attachment, "container" or "container/interface". */
export async function run(verb: string, conf: object | string, attachment = "c1", call: Call = {}): Promise<Outcome> {
  const [containerId, ifname = "eth0"] = attachment.split("/");
  const child = Bun.spawn([call.bin ?? ours], {
    env: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: containerId!,
      CNI_NETNS: "/run/netns/none",
      CNI_IFNAME: ifname,
      CNI_ARGS: call.args ?? "",
      CNI_PATH: "/opt/cni/bin",
    },
    stdin: Buffer.from(typeof conf === "string" ? conf : JSON.stringify(conf)),
    stdout: "pipe",
    stderr: "pipe",
  });
  if (call.killAfter !== undefined) {
    await Bun.sleep(call.killAfter);
    child.kill("SIGKILL");
  }
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { exitCode: child.exitCode, stdout, stderr, json: stdout.trim() === "" ? undefined : JSON.parse(stdout) };
}

/** Like run, but throws what the plugin said unless it succeeds; the addresses of ADD, without prefixes. */
export async function must(verb: string, conf: object, attachment?: string, call?: Call): Promise<string[]> {
  const { exitCode, stdout, stderr, json } = await run(verb, conf, attachment, call);
  if (exitCode !== 0) throw new Error(`${verb} of ${attachment} failed: ${stdout} ${stderr}`);
  return addressesOf(json);
}

/** The addresses of a result of any version, without prefixes. */
export function addressesOf(json: any): string[] {
  const addresses = json?.ips?.map(({ address }: any) => address) ?? [json?.ip4?.ip, json?.ip6?.ip];
  return addresses.filter(Boolean).map((address: string) => address.split("/")[0]);
}

/** A folder for one test's state, with the configuration that leads there. */
export class State {
  readonly dir = mkdtempSync(join(tmpdir(), "host-local-"));
  readonly network = join(this.dir, "net");
  readonly cache = join(this.dir, "cache");

  /** A configuration whose ipam section has these keys; `rest` stands beside it. */
  conf(ipam: object, rest: object = {}): Record<string, any> {
    const place = { type: "host-local", dataDir: this.dir, cacheDir: this.cache };
    return { cniVersion: "1.1.0", name: "net", type: "bridge", ipam: { ...place, ...ipam }, ...rest };
  }

  /** Every file of the network with its mode and content. */
  files(): Record<string, string> {
    const files: Record<string, string> = {};
    for (const name of this.names()) {
      const path = join(this.network, name);
      const { mode } = lstatSync(path);
      files[name] =
        `${(mode & 0o7777).toString(8)} ${(mode & 0o170000) === 0o100000 ? readFileSync(path, "utf8") : "no file"}`;
    }
    return files;
  }

  /** The names of the reservations. */
  reservations(): string[] {
    return this.names().filter((name) => /^[0-9a-f]*[.:]/.test(name));
  }

  names(): string[] {
    try {
      return readdirSync(this.network).sort();
    } catch {
      return []; // not made yet
    }
  }

  make(): this {
    mkdirSync(this.network, { recursive: true });
    return this;
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
