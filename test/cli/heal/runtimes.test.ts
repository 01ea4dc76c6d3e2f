import { afterEach, beforeEach, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { knownIds, listSandboxes } from "../../../cli/heal/runtimes.ts";

let folder: string;
let server: Http2Server | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenon-runtimes-"));
});
afterEach(async () => {
  server?.close();
  server = undefined;
  await rm(folder, { recursive: true });
});

const field = (number: number, body: Uint8Array) =>
  Buffer.concat([Buffer.from([(number << 3) | 2, body.length]), body]);

/** A CRI service with these pods, or that refuses with a status. */
function serve(pods: string[], status = "0"): Promise<string> {
  const items = pods.map((id) => field(1, Buffer.concat([field(1, Buffer.from(id)), Buffer.from([0x18, 0xac, 2])])));
  return serveBody(Buffer.concat(items), status);
}

async function serveBody(body: Buffer, status = "0"): Promise<string> {
  server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    const right = headers[":path"] === "/runtime.v1.RuntimeService/ListPodSandbox";
    const head = Buffer.alloc(5);
    head.writeUInt32BE(body.length, 1);
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": right ? status : "12", "grpc-message": "not%20now" }),
    );
    stream.end(status === "0" ? Buffer.concat([head, body]) : undefined);
  });
  const socket = join(folder, "sock");
  await new Promise<void>((resolve) => server!.listen(socket, resolve));
  return socket;
}

test("a CRI runtime tells its pods, the stopped ones too", async () => {
  const socket = await serve(["abc", "def"]);
  expect(await knownIds({ name: "containerd", cache: "", socket })).toEqual(new Set(["abc", "def"]));
});

test("none, a refusal, silence and a missing socket are told apart", async () => {
  expect(await listSandboxes(await serve([]))).toEqual([]);
  server!.close();
  await rm(join(folder, "sock"), { force: true });
  const socket = await serve(["abc"], "14");
  expect(await listSandboxes(socket).catch((error) => error.message)).toBe(`Cannot ask ${socket}: not now`);
  expect(await listSandboxes(join(folder, "none"), 500).catch((error) => error.message)).toContain("none");
});

test("podman's containers are in its storage, whatever drives it", async () => {
  const runtime = { name: "podman", cache: "", storage: folder };
  expect(await knownIds(runtime).catch((error) => error.message)).toContain("no storage of podman");
  for (const [driver, id] of [
    ["vfs", "a"],
    ["overlay", "b"],
  ] as const) {
    await mkdir(join(folder, `${driver}-containers`));
    await writeFile(join(folder, `${driver}-containers/containers.json`), JSON.stringify([{ id, names: ["x"] }]));
  }
  expect(await knownIds(runtime)).toEqual(new Set(["a", "b"]));
  await writeFile(join(folder, "vfs-containers/containers.json"), "[{");
  expect(knownIds(runtime)).rejects.toThrow();
  expect(await knownIds({ name: "files", cache: "/x" })).toBeUndefined();
});

test("an answer with fields of every kind is read; one that is cut short is refused", async () => {
  const fields = Buffer.from([0x10, 0x96, 1, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x2a, 1, 65]);
  const item = field(1, Buffer.concat([fields, field(1, Buffer.from("abc"))]));
  expect(await listSandboxes(await serveBody(Buffer.concat([fields, item])))).toEqual(["abc"]);
  for (const bytes of [[0x0a, 5, 1], [0x0a, 0x80], [0x0b]]) {
    server!.close();
    await rm(join(folder, "sock"), { force: true });
    const socket = await serveBody(Buffer.from(bytes));
    expect(await listSandboxes(socket).catch((error) => error.message)).toStartWith(`Cannot ask ${socket}: `);
  }
});
