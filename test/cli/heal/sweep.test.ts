// What dead attachments leave goes, and nothing else; whatever cannot be asked, or says nothing, keeps everything in place.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { createServer, type ServerHttp2Stream } from "node:http2";
import { join } from "node:path";
import type { Report } from "../../../cli/heal/sweep.ts";
import { type Attached, attach, detach, results } from "../../helpers/libcni.ts";
import { makeNode, type Netns, type Node } from "../../helpers/node.ts";
import { ours } from "../../helpers/plugin.ts";
import { leftOver, snapshot } from "../../helpers/snapshot.ts";

const script = new URL("../../helpers/sweep-process.ts", import.meta.url).pathname;
const list = {
  cniVersion: "1.0.0",
  name: "pods",
  plugins: [
    {
      type: "bridge",
      isGateway: true,
      ipMasq: true,
      macspoofchk: true,
      ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0/24" }]] },
    },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "firewall" },
    { type: "bandwidth", ingressRate: 1e9, ingressBurst: 8e6, egressRate: 1e9, egressBurst: 8e6 },
  ],
};
const ports = (hostPort: number) => ({ portMappings: [{ hostPort, containerPort: 80, protocol: "tcp" }] });

let [node, alive, settled]: [Node, Netns, string[]] = [] as any;
let known: string[] = [];
let sockets = 0;
beforeAll(async () => {
  node = await makeNode("sweep");
  alive = await node.netns("alive");
  await attach(node, list, alive, "living", ports(8080));
  await node.exec("mkdir", ["-p", "/var/lib/tenon"]);
  settled = await snapshot(node);
}, 30_000);
afterAll(() => node?.close());

/** A CRI service that knows the pods in `known`. */
async function serve() {
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream) => {
    const field = (body: Uint8Array) => Buffer.concat([Buffer.from([0x0a, body.length]), body]);
    const body = Buffer.concat(known.map((id) => field(field(Buffer.from(id)))));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(body.length, 1);
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.concat([head, body]));
  });
  const socket = join(node.dir, `sock${sockets++}`);
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return { socket, [Symbol.dispose]: () => server.close() };
}

const cri = (socket: string) => [{ name: "containerd", cache: results, socket }];
const files = [{ name: "files", cache: results }];

async function lookAt(runtimes: object[] | undefined, minutes: number, dry = false) {
  const options = JSON.stringify({ runtimes, plugins: [ours] });
  const args = [script, options, `${minutes}`, ...(dry ? ["dry"] : [])];
  const { stdout } = await node.exec(process.execPath, ["run", ...args]);
  return JSON.parse(stdout) as { report: Report; done: { label: string; failure?: string }[] };
}

/** A pod whose namespace goes while nobody calls DEL; its link goes with the namespace. */
async function die(id: string, hostPort: number): Promise<Attached> {
  const pod = await node.netns(id);
  const attached = await attach(node, list, pod, id, ports(hostPort));
  await pod.close();
  await node.exec("rm", [attached.file]);
  return attached;
}
const left = async () =>
  leftOver(settled, await snapshot(node), [/last_reserved|tenon\/(helper|sweep.json|host-local)|"bwp|address bwp/]);
const forget = () => node.exec("rm", ["-f", "/var/lib/tenon/sweep.json"]);

test("what a dead attachment left goes after two looks: addresses, elements, devices; the living keep all", async () => {
  using runtime = await serve();
  known = ["living"];
  await die("dead", 8081);
  expect((await left()).length).toBeGreaterThan(4);
  const before = await snapshot(node);
  for (const minutes of [0, 14.9]) {
    const { report, done } = await lookAt(cri(runtime.socket), minutes);
    expect([report.dead, report.waiting, report.refusals, done]).toEqual([[], ["pods/dead/eth0"], [], []]);
  }
  expect((await lookAt(cri(runtime.socket), 16, true)).report.dead).toEqual(["pods/dead/eth0"]);
  expect(leftOver(before, await snapshot(node), [/sweep.json/])).toEqual([]);
  const { report, done } = await lookAt(cri(runtime.socket), 16);
  expect(report.suspects).toContainEqual({ label: "pods/living/eth0", alive: "its runtime remembers it" });
  expect(done).toEqual([{ label: "pods/dead/eth0" }]);
  expect(await left()).toEqual([]);
}, 30_000);

test("who has files alone is swept too", async () => {
  await forget();
  await die("filed", 8082);
  await lookAt(files, 0);
  expect((await lookAt(files, 15.1)).done).toEqual([{ label: "pods/filed/eth0" }]);
  expect(await left()).toEqual([]);
}, 30_000);

test("nobody is dead whom anything knows: a runtime, a cache, a link, an address in a namespace", async () => {
  await forget();
  using runtime = await serve();
  const pod = await node.netns("kept");
  const attached = await attach(node, list, pod, "kept", ports(8083));
  await node.exec("mv", [attached.file, "/var/lib/tenon/kept"]);
  const signs = async () =>
    (await lookAt(cri(runtime.socket), 100)).report.suspects.find(({ label }) => label === "pods/kept/eth0")?.alive;
  known = ["living", "kept"];
  expect(await signs()).toBe("its runtime knows the container");
  known = ["living"];
  expect(await signs()).toBe("its link leads to a namespace");
  // Somebody else's link with the same address: the namespace may be the pod's.
  await pod.exec("ip", ["link", "delete", "eth0"]);
  await pod.exec("ip", ["addr", "add", attached.result.ips[0].address, "dev", "lo"]);
  expect(await signs()).toMatch(/^10\.1\.0\.\d+ is in use in a namespace$/);
  await node.exec("mv", ["/var/lib/tenon/kept", attached.file]);
  await pod.close();
  expect(await signs()).toBe("its runtime remembers it");
  await detach(node, list, attached, ports(8083));
  expect(await left()).toEqual([]);
}, 30_000);

test("what cannot be asked, or says nothing, keeps everything in place and is named", async () => {
  await forget();
  using runtime = await serve();
  known = ["living"];
  const attached = await die("late", 8084);
  const refusals = async (runtimes: object[] | undefined) => {
    for (const minutes of [200, 400]) {
      const { report, done } = await lookAt(runtimes, minutes);
      expect([report.dead, done]).toEqual([[], []]);
      if (minutes === 400) return report.refusals.join();
    }
  };
  expect(await refusals(cri("/run/none.sock"))).toContain("containerd: Cannot ask /run/none.sock");
  known = [];
  expect(await refusals(cri(runtime.socket))).toContain("containerd knows of no pod");
  known = ["living"];
  expect(await refusals([{ name: "x", cache: "/run/none" }])).toContain("Cannot read /run/none");
  await node.exec("mount", ["-t", "tmpfs", "tmpfs", results]); // as if the disk had not been mounted
  expect(await refusals(cri(runtime.socket))).toContain(`${results} is empty`);
  await node.exec("umount", [results]);
  await node.exec("bash", ["-c", `echo '{' > ${results}/broken`]);
  expect(await refusals(cri(runtime.socket))).toContain(`Cannot read ${results}/broken`);
  await node.exec("rm", [`${results}/broken`]);
  expect(await refusals(undefined)).toContain("Cannot find a container runtime");
  // A usual runtime that was here once, and is not now.
  await node.exec("mkdir", ["-p", "/run/crio"]);
  await node.exec("touch", ["/run/crio/crio.sock"]);
  await lookAt(undefined, 0);
  await node.exec("rm", ["-r", "/run/crio"]);
  expect(await refusals(undefined)).toContain("cri-o: Cannot ask /run/crio/crio.sock");
  expect((await left()).join()).toContain("pods/late/eth0");
  await lookAt(cri(runtime.socket), 0);
  expect((await lookAt(cri(runtime.socket), 16)).done).toEqual([{ label: attached && "pods/late/eth0" }]);
  expect(await left()).toEqual([]);
}, 60_000);
