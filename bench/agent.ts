#!/usr/bin/env bun
// The node's agent among thousands of nodes: what it costs while nothing happens, and how long one node's change takes until
// the kernel has its route. The compiled executable, in a node of its own, with an etcd or a file as its source.
//   bun bench/agent.ts [--command build/tenon] [--nodes N] [--seconds N] [--changes N] [--source etcd|file] [--state DIR]
// Heartbeats: every node's record is under a lease of its own, renewed as its agent would renew it.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Etcd3 } from "etcd3";
import type { Event } from "../cli/heal/events.ts";
import { watchKernel } from "../cli/heal/watch.ts";

const { values: flags } = parseArgs({
  options: {
    command: { type: "string", default: resolve(import.meta.dir, "../build/tenon") },
    nodes: { type: "string", default: "5000" },
    seconds: { type: "string", default: "120" },
    changes: { type: "string", default: "60" },
    source: { type: "string", default: "etcd" },
    state: { type: "string", default: tmpdir() },
    inside: { type: "boolean", default: false },
  },
});
const count = Number(flags.nodes);
const seconds = Number(flags.seconds);
const HERTZ = 100; // of the times in /proc, on every architecture
const HEARTBEAT = 30;

/** As agents write it; the `turn`th network of its pods. */
function record(at: number, turn = 0) {
  const hex = at.toString(16);
  return {
    name: `worker-${String(at).padStart(4, "0")}.pool-${at % 7}.example.net`,
    subnets: [`10.${(turn % 2) * 100 + 100 + (at >> 8)}.${at & 255}.0/24`, `fd00:10:${hex}::/64`],
    addresses: [at === 0 ? "192.0.2.1" : `198.18.${at >> 8}.${at & 255}`, `2001:db8:9::${hex}`],
    mtu: 1500,
  };
}

type Change = (at: number, turn: number) => Promise<unknown>;

function run(...command: string[]): void {
  const { success, stderr } = Bun.spawnSync(command);
  if (!success) throw new Error(`Cannot run ${command.join(" ")}: ${stderr}`);
}

async function until(what: string, condition: () => Promise<unknown> | unknown, seconds = 60): Promise<void> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await Bun.sleep(50)) if (await condition()) return;
  throw new Error(`Cannot see that ${what}: not within ${seconds} s`);
}

/** An etcd with all nodes in it, this one aside; how to change one. */
async function withEtcd(dir: string, children: Bun.Subprocess[]): Promise<{ source: object; change: Change }> {
  const log = Bun.file(join(dir, "etcd.log"));
  children.push(
    Bun.spawn(["etcd", "--data-dir", join(dir, "etcd"), "--logger=zap", "--log-level=error"], {
      stdin: "ignore",
      stdout: log,
      stderr: log,
    }),
  );
  const client = new Etcd3({ hosts: "127.0.0.1:2379" });
  await until("etcd answers", () => client.maintenance.status().then(Boolean, () => false));
  const leases: string[] = [];
  const key = (at: number) => `/tenon/pods/nodes/${record(at).name}`;
  const value = (at: number, turn: number) => JSON.stringify({ ...record(at, turn), id: crypto.randomUUID() });
  for (let at = 1; at < count; at += 100) {
    const some = Array.from({ length: Math.min(100, count - at) }, (_, one) => at + one);
    await Promise.all(
      some.map(async (at) => {
        const { ID } = await client.leaseClient.leaseGrant({ TTL: 86400 });
        leases[at] = ID;
        await client.put(key(at)).value(value(at, 0)).lease(ID).exec();
        await client
          .put(`/tenon/pods/subnets/${record(at).subnets[0]!.replace("/", "-")}`)
          .value("{}")
          .exec();
      }),
    );
  }
  const stream = await client.leaseClient.leaseKeepAlive();
  stream.on("data", () => {}).on("error", () => {});
  let next = 1;
  const timer = setInterval(() => {
    for (let some = 0; some < count / HEARTBEAT / 10; some++) {
      stream.write({ ID: leases[next]! });
      next = next + 1 < count ? next + 1 : 1;
    }
  }, 100);
  timer.unref();
  return {
    source: { type: "etcd", hosts: ["127.0.0.1:2379"] },
    change: (at, turn) => client.put(key(at)).value(value(at, turn)).lease(leases[at]!).exec(),
  };
}

/** A file with all nodes; replaced as a whole for each change. */
function withFile(dir: string): { source: object; change: Change } {
  const path = join(dir, "peers.json");
  const nodes = Array.from({ length: count }, (_, at) => record(at));
  const change: Change = async (at, turn) => {
    nodes[at] = record(at, turn);
    writeFileSync(`${path}.new`, JSON.stringify(nodes));
    renamed = performance.now();
    renameSync(`${path}.new`, path);
  };
  writeFileSync(path, JSON.stringify(nodes));
  return { source: { type: "file", path }, change };
}
/** When a file was put in place: writing it is not the agent's time. */
let renamed: number | undefined;

interface Idle {
  megabytes: { median: number; most: number };
  percent: number;
}

async function measureIdle(pid: number, seconds: number): Promise<Idle> {
  const ticks = () => {
    const [, , ...fields] = readFileSync(`/proc/${pid}/stat`, "utf8").split(/\) | /);
    return Number(fields[11]) + Number(fields[12]);
  };
  const resident = () => Number(/VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
  const [before, began] = [ticks(), performance.now()];
  const sizes: number[] = [];
  for (let at = 0; at < seconds; at++) {
    await Bun.sleep(1000);
    sizes.push(resident() / 1e6);
  }
  const percent = ((ticks() - before) / HERTZ / ((performance.now() - began) / 1000)) * 100;
  return { percent, megabytes: { median: part(sizes, 0.5), most: Math.max(...sizes) } };
}

function part(all: readonly number[], share: number): number {
  const sorted = [...all].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

/** Milliseconds from the change to the kernel's notice of the new route, `changes` times after a pause each. */
async function measureChanges(change: Change, changes: number): Promise<number[]> {
  let seen: (event: Event) => void = () => {};
  const watch = await watchKernel({ heard: (events) => events.forEach((event) => void seen(event)), lost: () => {} });
  const times: number[] = [];
  for (let round = 0; round < changes; round++) {
    const at = 1 + ((round * 997) % (count - 1));
    const [wanted] = record(at, 1).subnets;
    const { promise, resolve } = Promise.withResolvers<number>();
    seen = (event) => {
      if (event.of === "route" && !event.gone && event.destination === wanted) resolve(performance.now());
    };
    renamed = undefined;
    const began = performance.now();
    await change(at, 1);
    const late = Bun.sleep(10_000).then(() => Number.NaN);
    const end = await Promise.race([promise, late]);
    if (Number.isNaN(end)) throw new Error(`Cannot see the route to ${wanted} in 10 s`);
    times.push(end - (renamed ?? began));
    await Bun.sleep(500);
  }
  watch.stop();
  return times;
}

async function inside(): Promise<void> {
  const dir = resolve(flags.state);
  const children: Bun.Subprocess[] = [];
  try {
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run");
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/lib");
    const links = "ip link set lo up; ip link add uplink up type veth peer name far; ip link set far up";
    run("sh", "-ec", `${links}; ip addr add 192.0.2.1/24 dev uplink; ip route add default via 192.0.2.254`);
    const { source, change } = flags.source === "file" ? withFile(dir) : await withEtcd(dir, children);
    mkdirSync("/run/net.d");
    const plugins = [
      { type: "bridge", ipMasq: true, ipam: { type: "host-local", ranges: "{{podRanges}}" } },
      { type: "vxlan", clusterCidrs: "{{clusterCidrs}}" },
    ];
    writeFileSync(`${dir}/template`, JSON.stringify({ cniVersion: "1.1.0", name: "pods", plugins }));
    const network = {
      name: "pods",
      source,
      cluster: [{ cidr: "10.0.0.0/8", size: 24 }],
      addresses: ["192.0.2.1"],
      conflist: { template: `${dir}/template`, to: "/run/net.d/10-pods.conflist" },
    };
    // YAML takes JSON as it is.
    writeFileSync(`${dir}/agent.yaml`, JSON.stringify({ node: record(0).name, networks: [network] }));
    const log = Bun.file(join(dir, "agent.log"));
    const command = [resolve(flags.command), "agent", "--config", `${dir}/agent.yaml`];
    const agent = Bun.spawn(command, { stdin: "ignore", stdout: log, stderr: log });
    children.push(agent);
    const began = performance.now();
    const isReady = () =>
      fetch("http://127.0.0.1:9811/readyz").then(
        ({ status }) => status === 200,
        () => false,
      );
    await until("the agent is ready", isReady).catch((error) => {
      throw new Error(`${error.message}\n${readFileSync(join(dir, "agent.log"))}`);
    });
    const ready = performance.now() - began;
    await Bun.sleep(15_000); // what the start leaves behind has gone
    const fresh = await measureIdle(agent.pid, seconds);
    const times = await measureChanges(change, Number(flags.changes));
    await Bun.sleep(15_000);
    const later = await measureIdle(agent.pid, seconds / 4);
    const idle = ({ megabytes: { median, most }, percent }: Idle) =>
      `${median.toFixed(1)} MB (${most.toFixed(1)} at most), ${percent.toFixed(2)} % of a core`;
    const lines = [
      `${count} nodes, source ${flags.source}; ready after ${ready.toFixed(0)} ms`,
      `idle for ${seconds} s: ${idle(fresh)}`,
      `one node changed, ${times.length} times: median ${part(times, 0.5).toFixed(1)} ms, p95 ${part(times, 0.95).toFixed(1)} ms`,
      `idle for ${seconds / 4} s after that: ${idle(later)}`,
    ];
    process.stdout.write(`${lines.join("\n")}\n`);
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map((child) => child.exited));
  }
}

if (flags.inside) {
  await inside();
  process.exit(0);
}
if (!existsSync(flags.command)) {
  process.stderr.write(`Cannot measure ${flags.command}: it is not there; \`make build\` makes it\n`);
  process.exit(2);
}
// The node dies with this process, as those of run.ts do.
const node =
  "setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private";
const dir = mkdtempSync(join(resolve(flags.state), "tenon-agent-"));
const again = [process.execPath, import.meta.path, ...process.argv.slice(2), "--state", dir, "--inside"];
const running = Bun.spawn([...node.split(" "), ...again], { stdin: "ignore", stdout: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => running.kill("SIGKILL"));
const status = await running.exited;
rmSync(dir, { recursive: true, force: true });
process.exit(status);
