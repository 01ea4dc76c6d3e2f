// An agent on a throw-away node: the compiled `tenon`, its files in the node's folder, and what it answers.
import { rename, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { execa } from "execa";
import type { Node } from "./node.ts";

/** The executable under test. */
export const executable = resolve(process.env.TENON_COMMAND ?? "build/tenon");

export interface AgentOptions {
  node: string;
  /** The value of `source`, in YAML's one-line style. */
  source: string;
  /** More lines of the network's settings. */
  more?: Record<string, unknown>;
  plugins?: Record<string, unknown>[];
  /** More of the settings. */
  settings?: Record<string, unknown>;
}

export interface RunningAgent extends AsyncDisposable {
  /** All that it said so far. */
  said(): string;
  get(path: string): Promise<{ status: number; body: string }>;
  ready(): Promise<void>;
  /** A figure by its name and labels as they stand in /metrics. */
  figure(name: string): Promise<number | undefined>;
  signal(name: "SIGTERM" | "SIGKILL" | "SIGHUP" | "SIGSTOP" | "SIGCONT"): Promise<void>;
  /** Waits for its end; its exit code. */
  ended(): Promise<number | undefined>;
  /** Its process in the node. */
  pid: number;
}

export const template = (plugins: Record<string, unknown>[]) =>
  JSON.stringify({ cniVersion: "1.0.0", name: "pods", plugins });

export const bridge = { type: "bridge", bridge: "cni0", ipam: { type: "host-local", ranges: "{{podRanges}}" } };

/** Replaces a file by renaming. */
export async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}

/** Writes the agent's files into the node's folder; the configuration's path. */
export async function configure(node: Node, options: AgentOptions): Promise<string> {
  const { source, more = {}, plugins = [bridge, { type: "vxlan", vni: 7 }], settings = {} } = options;
  const file = join(node.dir, "agent.yaml");
  await writeFile(join(node.dir, "template.json"), template(plugins));
  const network = {
    name: "pods",
    ...more,
    conflist: { template: join(node.dir, "template.json"), to: "/etc/cni/net.d/10-pods.conflist" },
  };
  // YAML takes JSON as it is.
  const networks = `[{"source": ${source}, ${JSON.stringify(network).slice(1)}]`;
  await writeFile(
    file,
    `${JSON.stringify({ node: options.node, ...settings }).slice(0, -1)}, "networks": ${networks}}`,
  );
  return file;
}

/** Starts `tenon agent` in the node. */
export async function startAgent(node: Node, config: string): Promise<RunningAgent> {
  const [program, ...into] = node.enter();
  const process = execa(
    program!,
    [...into, "sh", "-c", 'echo $$; exec "$@"', "sh", executable, "agent", "--config", config],
    {
      reject: false,
      stdin: "ignore",
      all: true,
    },
  );
  let said = "";
  process.all.on("data", (data) => {
    said += data;
  });
  for (let tries = 0; !said.includes("\n") && tries < 500; tries++) await Bun.sleep(10);
  const pid = Number(said.split("\n")[0]);
  const get = async (path: string) => {
    const script = `exec 3<>/dev/tcp/127.0.0.1/9811; printf 'GET ${path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3`;
    const { stdout } = await node.exec("bash", ["-c", script], { reject: false });
    return { status: Number(stdout.split(" ")[1] ?? 0), body: stdout.slice(stdout.indexOf("\r\n\r\n") + 4) };
  };
  const signal = async (name: string) => {
    await node.exec("kill", ["-s", name.slice(3), `${pid}`], { reject: false });
  };
  return {
    pid,
    said: () => said.slice(said.indexOf("\n") + 1),
    get,
    async ready() {
      for (let tries = 0; tries < 300; tries++) {
        if ((await get("/readyz")).status === 200) return;
        if (process.exitCode !== null) break;
        await Bun.sleep(30);
      }
      throw new Error(`Cannot see the agent ready: ${said}`);
    },
    async figure(name) {
      const line = (await get("/metrics")).body.split("\n").find((one) => one.startsWith(`${name} `));
      return line === undefined ? undefined : Number(line.slice(name.length + 1));
    },
    signal,
    ended: async () => (await process).exitCode,
    async [Symbol.asyncDispose]() {
      await signal("SIGKILL");
      await process;
    },
  };
}

/** Waits for a condition. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, seconds = 20): Promise<void> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await Bun.sleep(20)) if (await condition()) return;
  throw new Error(`Cannot see that ${what}: not within ${seconds} s`);
}
