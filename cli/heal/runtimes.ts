// What the container runtimes of this node know: the pods of a CRI runtime (containerd, CRI-O), asked over its socket, and the
// containers of podman, read from its storage. Read only. A runtime that cannot be asked, or knows nothing, says so: the
// sweep must not take silence for death.
// https://github.com/kubernetes/cri-api runtime/v1/api.proto
import { Buffer } from "node:buffer";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Reader } from "protobufjs/minimal";
import { z } from "zod";

/** Where a runtime of this node keeps what. */
export interface Runtime {
  name: string;
  /** Folder of results that its library keeps. */
  cache: string;
  /** Socket of its CRI service. */
  socket?: string;
  /** Folder of podman's storage. */
  storage?: string;
}

const cache = "/var/lib/cni/results";

/** The runtimes that are usual on nodes, by what tells that they are there. */
export const usual: readonly Runtime[] = [
  { name: "containerd", cache, socket: "/run/containerd/containerd.sock" },
  { name: "cri-o", cache, socket: "/run/crio/crio.sock" },
  { name: "podman", cache, storage: "/var/lib/containers/storage" },
];

/** The containers and pods that a runtime knows; undefined for one that can only be told by its cache. */
export async function knownIds(runtime: Runtime): Promise<Set<string> | undefined> {
  if (runtime.socket) return new Set(await listSandboxes(runtime.socket));
  if (runtime.storage) return new Set(await listStored(runtime.storage));
  return undefined;
}

const stored = z.array(z.looseObject({ id: z.string() }));

/** Ids in the lists of containers that each driver of containers/storage keeps. */
async function listStored(storage: string): Promise<string[]> {
  const folders = (await readdir(storage)).filter((name) => name.endsWith("-containers"));
  if (folders.length === 0) throw new Error(`Cannot find containers in ${storage}: no storage of podman`);
  const lists = await Promise.all(
    folders.map(async (folder) =>
      stored.parse(JSON.parse(await readFile(join(storage, folder, "containers.json"), "utf8"))),
    ),
  );
  return lists.flat().map(({ id }) => id);
}

/** Ids of all pods, the stopped ones too. */
export async function listSandboxes(socket: string, timeout = 5000): Promise<string[]> {
  // Loaded when it is used: most of an agent's memory is such packages.
  const { Client, credentials } = await import("@grpc/grpc-js");
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  const asIs = (bytes: Buffer) => bytes;
  try {
    const answer = await new Promise<Buffer>((resolve, reject) => {
      const method = "/runtime.v1.RuntimeService/ListPodSandbox";
      const deadline = Date.now() + timeout;
      client.makeUnaryRequest(method, asIs, asIs, Buffer.alloc(0), { deadline }, (error, value) => {
        if (error) reject(error);
        else resolve(value!);
      });
    });
    return idsIn(answer);
  } catch (error) {
    const { details, message } = error as { details?: string; message: string };
    throw new Error(`Cannot ask ${socket}: ${details || message}`, { cause: error });
  } finally {
    client.close();
  }
}

/** The ids in a ListPodSandboxResponse { repeated PodSandbox items = 1 } of PodSandbox { string id = 1 ... }. */
function idsIn(answer: Uint8Array): string[] {
  const ids: string[] = [];
  eachFirst(Reader.create(answer), (reader) => {
    const item = Reader.create(reader.bytes());
    eachFirst(item, () => ids.push(item.string()));
  });
  return ids;
}

/** Shows each field 1 of a message, passes over the others. */
function eachFirst(reader: Reader, visit: (reader: Reader) => void): void {
  while (reader.pos < reader.len) {
    const key = reader.uint32();
    if (key === 0x0a) visit(reader);
    else reader.skipType(key & 7);
  }
}
