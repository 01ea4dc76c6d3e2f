// Podman 4 with its CNI backend in a node: storage, configuration, locks and networks are the node's own.
// containers.conf(5), containers-storage.conf(5), podman-network-create(1)
//
//   const podman = await startPodman(node, { plugins: "/opt/x/bin" });
//   await podman.createNetwork("blue", "--subnet", "10.130.1.0/24");
//   await podman.run("a", "--network", "blue", "--ip", "10.130.1.77");
//   await podman.exec("a", "ping", "-c1", "10.130.1.1"); await podman.networks("a"); await podman.call("rm", "-f", "a");
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { image, makeImage } from "./image.ts";
import { type Node, needPrograms, type Ran } from "./node.ts";

export type Podman = AsyncDisposable & {
  /** Any podman command; refuses an exit code that is not 0. */
  call(...args: string[]): Promise<Ran>;
  /** Creates a network, then strikes from its list the plugins that the folder lacks: podman always asks for four. */
  createNetwork(name: string, ...args: string[]): Promise<void>;
  /** Runs a container that sleeps, with these options of `podman run`. */
  run(name: string, ...options: string[]): Promise<void>;
  exec(name: string, ...command: string[]): Promise<Ran>;
  /** What `podman inspect` says of the container's networks, by network name. */
  networks(name: string): Promise<Record<string, { IPAddress: string; MacAddress: string; GlobalIPv6Address: string }>>;
  close(): Promise<void>;
};

const containersConf = (dir: string, plugins: string) => `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
static_dir = "${dir}/static"
volume_path = "${dir}/volumes"
tmp_dir = "/run/libpod"
[network]
network_backend = "cni"
cni_plugin_dirs = ["${plugins}"]
network_config_dir = "${dir}/net.d"
`;

const storageConf = (dir: string) => `[storage]
driver = "vfs"
graphroot = "${dir}/storage"
runroot = "/run/containers/storage"
`;

/** Prepares podman in the node, with the test image loaded; the plugin folder is a path inside the node. */
export async function startPodman(node: Node, { plugins }: { plugins: string }): Promise<Podman> {
  await needPrograms("podman", "conmon", "runc");
  const dir = join(node.dir, "podman");
  await mkdir(join(dir, "net.d"), { recursive: true });
  await writeFile(join(dir, "containers.conf"), containersConf(dir, plugins));
  await writeFile(join(dir, "storage.conf"), storageConf(dir));
  await node.exec("mount", ["-t", "tmpfs", "tmpfs", "/dev/shm"]); // podman keeps its locks there
  const env = {
    CONTAINERS_CONF: join(dir, "containers.conf"),
    CONTAINERS_STORAGE_CONF: join(dir, "storage.conf"),
    HOME: dir,
  };
  const call = (...args: string[]) => node.exec("podman", args, { env });
  await call("load", "--quiet", "--input", await makeImage(dir));

  const close = async () => {
    await call("rm", "--force", "--time", "0", "--all");
  };
  return {
    call,
    async createNetwork(name, ...args) {
      await call("network", "create", ...args, name);
      const file = join(dir, "net.d", `${name}.conflist`);
      const list = JSON.parse(await readFile(file, "utf8"));
      const there = await readdir(plugins);
      list.plugins = list.plugins.filter(({ type }: { type: string }) => there.includes(type));
      await writeFile(file, JSON.stringify(list));
    },
    async run(name, ...options) {
      await call("run", "--detach", "--name", name, "--cgroup-parent", node.cgroup, ...options, image);
    },
    exec: (name, ...command) => call("exec", name, ...command),
    async networks(name) {
      const { stdout } = await call("inspect", name, "--format", "{{json .NetworkSettings.Networks}}");
      return JSON.parse(stdout);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
