// What the container runtimes of this node know: the pods of a CRI runtime (containerd, CRI-O), asked over its socket, and the
// containers of podman, read from its storage. Read only. A runtime that cannot be asked, or knows nothing, says so: the
// sweep must not take silence for death.
// https://github.com/kubernetes/cri-api runtime/v1/api.proto; gRPC over HTTP/2, doc/PROTOCOL-HTTP2.md
import { Buffer } from "node:buffer";
import { readdir, readFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
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
  const answer = await call(socket, "/runtime.v1.RuntimeService/ListPodSandbox", timeout);
  // ListPodSandboxResponse { repeated PodSandbox items = 1 }; PodSandbox { string id = 1; ... }
  return [...fieldsOf(answer)].flatMap(([field, item]) => {
    if (field !== 1) return [];
    const id = [...fieldsOf(item)].find(([number]) => number === 1)?.[1];
    return id ? [new TextDecoder().decode(id)] : [];
  });
}

/** One unary call with an empty request. */
function call(socket: string, method: string, timeout: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2("http://localhost", { createConnection: () => connectSocket(socket) });
    const end = (error: Error | undefined, answer?: Uint8Array) => {
      clearTimeout(late);
      session.destroy();
      if (error) reject(new Error(`Cannot ask ${socket}: ${error.message}`));
      else resolve(answer!);
    };
    const late = setTimeout(() => end(new Error(`no answer in ${timeout} ms`)), timeout);
    session.on("error", end);
    const stream = session.request({
      ":method": "POST",
      ":path": method,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const chunks: Uint8Array[] = [];
    let status: Record<string, unknown> = {};
    const note = (headers: Record<string, unknown>) => {
      if (headers["grpc-status"] !== undefined) status = headers;
    };
    stream.on("response", note).on("trailers", note).on("error", end);
    stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    stream.on("close", () => {
      const body = Buffer.concat(chunks);
      if (status["grpc-status"] === "0" && body.length >= 5) return end(undefined, new Uint8Array(body.subarray(5)));
      end(new Error(decodeURIComponent(`${status["grpc-message"] ?? "the connection ended before the answer"}`)));
    });
    stream.end(Buffer.alloc(5)); // not compressed, of no length
  });
}

/** The fields of a protobuf message that have a length. https://protobuf.dev/programming-guides/encoding/ */
export function* fieldsOf(message: Uint8Array): Generator<[field: number, value: Uint8Array]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++];
      if (byte === undefined) throw new RangeError("Cannot read an answer of the runtime: it is cut short");
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const key = varint();
    const kind = key & 7;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      if (at + length > message.length) throw new RangeError("Cannot read an answer of the runtime: it is cut short");
      yield [key >>> 3, message.subarray(at, at + length)];
      at += length;
    } else throw new RangeError(`Cannot read an answer of the runtime: a field of kind ${kind}`);
  }
}
