// containerd in a node, with root, state, socket and configuration of its own, driven over CRI as the kubelet does it.
// https://github.com/containerd/containerd/blob/release/1.6/docs/cri/config.md
//
//   const at = { plugins: "/opt/x/bin", networks: "/etc/cni/net.d" };
//   const containerd = await startContainerd(node, { ...at, release: releases[0] });
//   const pod = await containerd.runPod("a");  await containerd.podStatus(pod)  // { ready, ip, ips, netns }
//   await containerd.kill9(); await containerd.restart(); await containerd.stopPod(pod); await containerd.removePod(pod);
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { containerd } from "../../scripts/containerd.ts";
import { openRuntime, type Runtime } from "./cri.ts";
import { image, makeImage } from "./image.ts";
import { type Node, needPrograms, path } from "./node.ts";

export type PodStatus = {
  ready: boolean;
  /** The first address; "" for a stopped pod. */
  ip: string;
  ips: string[];
  /** The namespace's path inside the node; "" for a stopped pod. */
  netns: string;
};

export type Containerd = AsyncDisposable & {
  /** Runs a pod and returns its id; rejects when the network refuses it. */
  runPod(name: string, config?: Record<string, unknown>): Promise<string>;
  stopPod(id: string): Promise<void>;
  removePod(id: string): Promise<void>;
  podStatus(id: string): Promise<PodStatus>;
  /** Ids of all pods that containerd knows. */
  pods(): Promise<string[]>;
  /** Starts a busybox container in the pod and returns its id, for `execSync`. */
  runContainer(pod: string): Promise<string>;
  execSync(container: string, cmd: string[]): Promise<{ stdout: string; stderr: string; exitCode: number }>;
  /** "" when the network is ready, else what containerd says about it. */
  networkProblem(): Promise<string>;
  kill9(): Promise<void>;
  restart(): Promise<void>;
  /** Ends containerd; pods still there end with the node. */
  close(): Promise<void>;
};

const config = (dir: string, plugins: string, networks: string) => `version = 2
root = "${dir}/root"
state = "/run/containerd"
disabled_plugins = [${["aufs", "btrfs", "devmapper", "zfs"].map((s) => `"io.containerd.snapshotter.v1.${s}"`)},
  "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "${dir}/sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${image}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${plugins}"
    conf_dir = "${networks}"
    max_conf_num = 1
`;

export type ContainerdOptions = {
  /** Folders of plugins and of network lists, by their paths inside the node. */
  plugins: string;
  networks: string;
  release: Release;
};

/** A containerd, and the newest version of the specification that its lists can have. */
export interface Release {
  name: string;
  cniVersion: "1.0.0" | "1.1.0";
  /** Folder with containerd, its shim and ctr; by default the installed ones. */
  programs?: string;
}

/** The installed one, which may be as old as 1.6, and one of 2.x, which also asks for STATUS. */
export const releases: readonly Release[] = [
  { name: "the installed containerd", cniVersion: "1.0.0" },
  { name: "containerd 2", cniVersion: "1.1.0", programs: containerd().dir },
];

/** Starts containerd in the node, ready for pods. */
export async function startContainerd(
  node: Node,
  { plugins, networks, release: { programs } }: ContainerdOptions,
): Promise<Containerd> {
  await needPrograms("runc", ...(programs ? [] : ["containerd", "containerd-shim-runc-v2", "ctr"]));
  const env = { PATH: programs ? `${programs}:${path}` : path };
  const dir = join(node.dir, "containerd");
  const [socket, log, pidFile] = [join(dir, "sock"), join(dir, "log"), join(dir, "pid")];
  const archive = await node.exec("mkdir", [dir]).then(() => makeImage(dir));
  await writeFile(join(dir, "config.toml"), config(dir, plugins, networks));
  const launch = `echo $$ > ${pidFile}; exec containerd --config ${dir}/config.toml >> ${log} 2>&1`;
  let running: { ended: Promise<unknown>; runtime: Runtime } | undefined;

  const start = async () => {
    const [program, ...into] = node.enter();
    const ended = execa(program!, [...into, "sh", "-c", launch], {
      stdio: "ignore",
      reject: false,
      env,
      extendEnv: false,
    });
    running = { ended, runtime: openRuntime(socket) };
    await untilServing(async () => {
      running!.runtime.close();
      running!.runtime = openRuntime(socket);
      await running!.runtime.call("Status");
    }).catch(async (error) => {
      throw new Error(`Cannot start containerd: ${error.message}: ${(await readFile(log, "utf8")).slice(-2000)}`);
    });
  };
  const kill9 = async () => {
    if (!running) return;
    running.runtime.close();
    const pid = await readFile(pidFile, "utf8").catch(() => ""); // it may have failed to start
    await node.exec("kill", ["-9", pid.trim()], { reject: false });
    await running.ended;
    running = undefined;
  };
  const call: Runtime["call"] = (method, request) => {
    if (!running) throw new Error(`Cannot call ${method}: containerd is not running`);
    return running.runtime.call(method, request);
  };
  const sandbox = (name: string, config: Record<string, unknown> = {}) => ({
    metadata: { name, uid: `uid-${name}`, namespace: "default", attempt: 0 },
    logDirectory: join(dir, "logs"),
    linux: { cgroupParent: node.cgroup },
    ...config,
  });
  const configs = new Map<string, ReturnType<typeof sandbox>>();

  try {
    await start();
    const ctr = ["--address", socket, "--namespace", "k8s.io", "images", "import", "--snapshotter", "native"];
    const { stdout: help } = await node.exec("ctr", ["images", "import", "--help"], { env });
    if (help.includes("--local")) ctr.push("--local"); // 2.x would else use its transfer service, which knows no platform
    await node.exec("ctr", [...ctr, archive], { env });
    await untilServing(async () => {
      const known = await call("ImageStatus", { image: { image } });
      if (!known.image) throw new Error(`Cannot use ${image}: not known to containerd`);
    });
  } catch (error) {
    await kill9();
    throw error;
  }

  return {
    async runPod(name, config) {
      const whole = sandbox(name, config);
      const { podSandboxId } = await call("RunPodSandbox", { config: whole });
      configs.set(podSandboxId, whole);
      return podSandboxId;
    },
    stopPod: (id) => call("StopPodSandbox", { podSandboxId: id }),
    removePod: (id) => call("RemovePodSandbox", { podSandboxId: id }),
    async podStatus(id) {
      const { status, info } = await call("PodSandboxStatus", { podSandboxId: id, verbose: true });
      const ip = status.network?.ip ?? "";
      const namespaces = JSON.parse(info.info).runtimeSpec?.linux?.namespaces ?? [];
      return {
        ready: !status.state, // 0, ready, is not sent
        ip,
        ips: [ip, ...(status.network?.additionalIps ?? []).map((one: { ip: string }) => one.ip)].filter(Boolean),
        netns: namespaces.find((one: { type: string }) => one.type === "network")?.path ?? "",
      };
    },
    pods: async () => (await call("ListPodSandbox")).items.map((one: { id: string }) => one.id),
    async runContainer(pod) {
      const container = { metadata: { name: "main" }, image: { image } };
      const request = { podSandboxId: pod, config: container, sandboxConfig: configs.get(pod) };
      const { containerId } = await call("CreateContainer", request);
      await call("StartContainer", { containerId });
      return containerId;
    },
    async execSync(container, cmd) {
      const answer = await call("ExecSync", { containerId: container, cmd, timeout: 20 });
      return { stdout: "", stderr: "", exitCode: 0, ...answer };
    },
    async networkProblem() {
      const { status } = await call("Status");
      const network = status.conditions.find((one: { type: string }) => one.type === "NetworkReady");
      return network?.status ? "" : (network?.message ?? "no NetworkReady condition");
    },
    kill9,
    restart: start,
    close: kill9,
    [Symbol.asyncDispose]: kill9,
  };
}

/** Tries until it succeeds, for 15 s. */
async function untilServing(attempt: () => Promise<void>): Promise<void> {
  const end = performance.now() + 15_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > end) throw error;
      await Bun.sleep(30);
    }
  }
}
