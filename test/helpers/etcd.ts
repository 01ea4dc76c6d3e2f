// A real etcd, Debian's etcd-server, in a network namespace and a folder of its own. It listens on a Unix socket, which
// processes of every namespace reach, and on 127.0.0.1:2379 of its own namespace.
//
//   await using etcd = await startEtcd();
//   const client = etcd.client();            // etcd3, closed with the server
//   etcd.pause(); etcd.resume();             // cut off from everybody, without a word
//   await etcd.kill(); await etcd.restart(); // SIGKILL; the same data
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Etcd3 } from "etcd3";
import { execa } from "execa";
import { needPrograms } from "./node.ts";

export type Etcd = AsyncDisposable & {
  /** For the agent's `hosts`. */
  host: string;
  dir: string;
  pid(): number;
  client(): Etcd3;
  pause(): void;
  resume(): void;
  kill(): Promise<void>;
  restart(options?: { empty?: boolean }): Promise<void>;
};

/** Starts one; `flags` besides those that it needs. */
export async function startEtcd({ flags = [] as string[] } = {}): Promise<Etcd> {
  await needPrograms("etcd", "unshare");
  const dir = await mkdtemp(join(tmpdir(), "tenon-etcd-"));
  const host = `unix:${dir}/etcd:0`;
  const tls = flags.some((flag) => flag.startsWith("--cert-file"));
  const loopback = `${tls ? "https" : "http"}://127.0.0.1:2379`;
  const listen = tls ? loopback : `unix://etcd:0,${loopback}`;
  const clients: Etcd3[] = [];
  let server: ReturnType<typeof spawn> | undefined;

  function spawn() {
    const urls = [`--listen-client-urls=${listen}`, `--advertise-client-urls=${loopback}`];
    const peers = ["--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380"];
    const cluster = "--initial-cluster=default=http://127.0.0.1:2380";
    const all = ["etcd", "--data-dir=data", "--logger=zap", "--log-level=error", ...urls, ...peers, cluster];
    return execa("unshare", ["--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", ...all, ...flags], {
      cwd: dir,
      reject: false,
      stdin: "ignore",
      all: true,
    });
  }

  async function start() {
    await rm(join(dir, "etcd:0"), { force: true });
    server = spawn();
    for (let tries = 0; ; tries++) {
      const health = await execa(
        "nsenter",
        [`--net=/proc/${server.pid}/ns/net`, "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/2379"],
        { reject: false },
      );
      if (health.exitCode === 0) return;
      if (server.exitCode !== null || tries > 300) {
        server.kill("SIGKILL");
        throw new Error(`Cannot start etcd: ${(await server).all}`);
      }
      await Bun.sleep(20);
    }
  }

  async function kill() {
    server?.kill("SIGKILL");
    await server;
    server = undefined;
  }

  async function close() {
    for (const client of clients) client.close();
    await kill();
    await rm(dir, { recursive: true, force: true });
  }

  try {
    await start();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    host,
    dir,
    pid: () => server!.pid!,
    client() {
      const client = new Etcd3({ hosts: host });
      clients.push(client);
      return client;
    },
    pause: () => void server!.kill("SIGSTOP"),
    resume: () => void server!.kill("SIGCONT"),
    kill,
    async restart({ empty = false } = {}) {
      await kill();
      if (empty) await rm(join(dir, "data"), { recursive: true, force: true });
      await start();
    },
    [Symbol.asyncDispose]: close,
  };
}
