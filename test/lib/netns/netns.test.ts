import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { execa } from "execa";
import { dumpLinks, readLink } from "../../../lib/netlink/rtnl/link.ts";
import { openSocket } from "../../../lib/netlink/socket.ts";
import { host, type Namespace, NamespaceError, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
const home = readlinkSync("/proc/thread-self/ns/net");

/** The namespace that this thread is in. */
const here = () => readlinkSync("/proc/thread-self/ns/net");
const nameOf = async (netns: string) =>
  (await node.execAt(`/run/netns/${netns}`)("readlink", ["/proc/self/ns/net"])).stdout;
const path = (netns: string) => node.path(`/run/netns/${netns}`);

beforeAll(async () => {
  node = await makeNode("netns");
  for (const name of ["a", "b"]) await node.exec("ip", ["netns", "add", name]);
  await node.exec("ip", ["-n", "a", "link", "add", "only-a", "type", "bridge"]);
});

afterAll(() => node.close());

function refusal(path: string): NamespaceError {
  try {
    const ns = openNamespace(path);
    try {
      ns.run(() => {});
    } finally {
      ns.close();
    }
  } catch (error) {
    expect(error).toBeInstanceOf(NamespaceError);
    return error as NamespaceError;
  }
  throw new Error(`Cannot refuse ${path}: it is a namespace`);
}

test("a path that leads to nothing is missing", async () => {
  symlinkSync("nowhere", join(node.dir, "dangling"));
  writeFileSync(join(node.dir, "file"), "");
  for (const name of ["none", "none/none", "dangling", "file/below"]) {
    const error = refusal(join(node.dir, name));
    expect(error).toMatchObject({ missing: true, path: join(node.dir, name) });
    expect(error.message).toBe(`Cannot open network namespace "${join(node.dir, name)}": no such file`);
  }
});

test("the namespace of a process that is gone, or waits to be reaped, is missing", async () => {
  const child = execa("cat", { stdin: "pipe" });
  const link = `/proc/${child.pid}/ns/net`;
  openNamespace(link).close();
  child.stdin.end();
  await child;
  expect(refusal(link).missing).toBe(true);
  const parent = execa("bash", ["-c", "sleep 0.2 & echo $!; exec sleep 5"], { reject: false }); // reaps nothing
  const { value: zombie } = await parent.iterable().next();
  expect(zombie).toMatch(/^\d+$/);
  const state = () => readFileSync(`/proc/${zombie}/stat`, "utf8");
  for (let waited = 0; waited < 2000 && !state().includes(") Z "); waited += 20) await Bun.sleep(20);
  expect(state()).toContain(") Z ");
  expect(refusal(`/proc/${zombie}/ns/net`).missing).toBe(true);
  parent.kill();
  await parent;
});

test("what is no network namespace is named as such, and nothing hangs", async () => {
  const folder = join(node.dir, "others");
  mkdirSync(folder);
  writeFileSync(join(folder, "file"), "text");
  await execa("mkfifo", [join(folder, "fifo")]);
  const server = createServer().listen(join(folder, "socket"));
  symlinkSync("loop", join(folder, "loop"));
  const others = ["", "/file", "/fifo", "/socket", "/loop", `/${"x".repeat(256)}`].map((name) => folder + name);
  const devices = ["/dev/null", "/proc", "/proc/self/status", "/proc/self/ns", "/proc/sys/net/ipv4/ip_forward"];
  for (const kind of ["mnt", "pid", "uts", "ipc", "user"]) devices.push(`/proc/self/ns/${kind}`);
  const started = performance.now();
  for (const path of [...others, ...devices]) {
    expect(refusal(path)).toMatchObject({ missing: false, path });
    expect(here()).toBe(home);
  }
  expect(performance.now() - started).toBeLessThan(200);
  // Only what lies on the file system of namespaces, or below /proc, has to be tried.
  for (const path of [...others, "/dev/null"]) expect(() => openNamespace(path)).toThrow(NamespaceError);
  server.close();
});

test("the file that `ip netns delete` of a busy namespace leaves is no namespace", async () => {
  await node.exec("ip", ["netns", "add", "left"]);
  await node.exec("umount", ["-l", "/run/netns/left"]);
  expect(refusal(path("left")).missing).toBe(false);
  await node.exec("ip", ["netns", "delete", "left"]);
  expect(refusal(path("left")).missing).toBe(true);
});

test("what runs in a namespace is inside, and outside again afterwards", async () => {
  const a = openNamespace(path("a"));
  expect(a.run(here)).toBe(await nameOf("a"));
  expect(here()).toBe(home);
  expect(() =>
    a.run(() => {
      throw new Error("in the middle");
    }),
  ).toThrow("in the middle");
  expect(here()).toBe(home);
  a.close();
});

test("a namespace may be found over a symbolic link", async () => {
  const link = join(node.dir, "to-a");
  symlinkSync(path("a"), link);
  const a = openNamespace(link);
  expect(a.run(here)).toBe(await nameOf("a"));
  a.close();
});

test("entered from inside another one, a namespace is left towards that", async () => {
  const [a, b] = [openNamespace(path("a")), openNamespace(path("b"))];
  const [inA, inB] = [await nameOf("a"), await nameOf("b")];
  const seen = a.run(() => [here(), b.run(here), here(), host.run(here), here(), a.run(here), here()]);
  expect(seen).toEqual([inA, inB, inA, home, inA, inA, inA]);
  expect(here()).toBe(home);
  expect(() => a.run(() => b.run(() => host.run(() => JSON.parse("{"))))).toThrow(SyntaxError);
  expect(here()).toBe(home);
  a.close();
  b.close();
});

const names = ({ route }: Namespace) => route.dump(dumpLinks()).map((answer) => readLink(answer).name);

test("sockets stay bound to their namespace, wherever they are used from", async () => {
  const [a, b] = [openNamespace(path("a")), openNamespace(path("b"))];
  expect(names(a)).toEqual(["lo", "only-a"]);
  expect(names(b)).toEqual(["lo"]);
  expect(b.run(() => names(a))).toEqual(["lo", "only-a"]);
  // The host's socket is the host's even if its first use is inside.
  expect(a.run(() => names(host))).toEqual(names(host));
  expect(names(host)).not.toContain("only-a");
  const ofB = b.run(() => openSocket(0));
  ofB.close();
  a.close();
  b.close();
});

test("an open namespace outlives its path", async () => {
  await node.exec("ip", ["netns", "add", "short"]);
  const short = openNamespace(path("short"));
  await node.exec("ip", ["netns", "delete", "short"]);
  expect(names(short)).toEqual(["lo"]);
  expect(short.run(here)).toMatch(/^net:/);
  short.close();
});

test("the two sockets are opened when first used, in the namespace", () => {
  const a = openNamespace(path("a"));
  expect(a.netfilterFd).toBeUndefined();
  expect(a.netfilter).toBe(a.netfilter);
  expect(a.netfilterFd).toBeGreaterThan(2);
  expect(a.route).toBe(a.route);
  expect(here()).toBe(home);
  a.close();
});

test("a namespace closed twice closes nobody else's descriptor, and is not used any more", () => {
  const a = openNamespace(path("a"));
  a.close();
  const b = openNamespace(path("b")); // gets the number that is free now
  a.close();
  expect(names(b)).toEqual(["lo"]);
  expect(() => a.run(here)).toThrow("bad file descriptor");
  expect(() => a.route).toThrow("bad file descriptor");
  expect(here()).toBe(home);
  b.close();
});

test("the host's namespace is the one that the process was started in", () => {
  expect(host.run(here)).toBe(home);
  expect(readlinkSync(`/proc/self/fd/${host.fd}`)).toBe(home);
  host.close();
  expect(host.run(here)).toBe(home);
});
