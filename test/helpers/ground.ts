// Walks over the ground that plugins stand on, under whichever runtime runs it, and prints what it saw as JSON:
// the same under Bun and under Deno, or one of the two back ends is wrong. Argument: a folder to work in.
// Runs in a network namespace of its own. No node: modules here: the plugins have none either.
import { addressOf, environment, link, programName, readI32, readText, runProgram, sha512 } from "#ffi";
import { Writer } from "../../lib/netlink/attr.ts";
import { createAddress, dumpAddresses, readAddress } from "../../lib/netlink/rtnl/address.ts";
import * as links from "../../lib/netlink/rtnl/link.ts";
import { createRoute, dumpRoutes, readRoutes } from "../../lib/netlink/rtnl/route.ts";
import { eachMessage, NLM_F_ACK, openSocket, writeMessage } from "../../lib/netlink/socket.ts";
import { host, openNamespace } from "../../lib/netns/netns.ts";
import * as file from "../../lib/sys/file.ts";
import { sendFromHelper } from "../../lib/sys/helper.ts";
import { clock, cstring, errno, SystemError, system } from "../../lib/sys/libc.ts";

const folder = environment.FOLDER!;
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const refused = (body: () => unknown) => {
  try {
    body();
    return false;
  } catch (error) {
    return error instanceof SystemError ? error.message : error instanceof Error;
  }
};

/** Numbers and pointers there and back. */
function calls() {
  const c = link(["no-such-library.so", "libc.so.6"], {
    strlen: [["pointer"], "usize"],
    labs: [["i64"], "i64"],
    abs: [["i32"], "i32"],
    getenv: [["buffer"], "pointer"],
    memcpy: [["buffer", "pointer", "usize"], "pointer"],
  }) as Record<"strlen" | "labs" | "abs" | "getenv" | "memcpy", (...args: any[]) => number>;
  const word = bytes("sixteen letters!\0");
  const copy = new Uint8Array(17);
  const part = new Uint8Array(new ArrayBuffer(64), 8, 4);
  part.set([1, 2, 3, 4]);
  return {
    strlen: c.strlen(addressOf(word)),
    negative: [c.labs(-(2 ** 40)), c.abs(-7)],
    text: readText(c.getenv(bytes("GROUND\0"))),
    none: !c.getenv(bytes("NO_SUCH_VARIABLE\0")),
    copied: [c.memcpy(copy, addressOf(word), 16) === addressOf(copy), text(copy.subarray(0, 16))],
    part: readI32(addressOf(part)),
    empty: typeof addressOf(new Uint8Array(0)),
    missing: refused(() => link(["no-such-library.so"], { abs: [["i32"], "i32"] })),
    sha512: Array.from(sha512("tenon").subarray(0, 4)),
  };
}

/** errno is that of the call before, if asked at once. */
function errors() {
  let wrong = 0;
  let garbage: unknown[] = [];
  for (let i = 0; i < 20_000; i++) {
    const path = cstring(`/no/${i}`);
    const result = i % 2 ? system("close", -1) : system("openat", -100, path, 0, 0);
    const why = errno(); // at once: a list made before it may bring the collector, which has an errno of its own
    if (result !== -1 || why !== (i % 2 ? 9 : 2)) wrong++;
    garbage.push(new Uint8Array(i % 100), `${i}`);
    if (garbage.length > 1000) garbage = [];
  }
  return wrong;
}

function files() {
  const path = `${folder}/a`;
  const fd = file.open(path, file.O_CREAT | file.O_EXCL | file.O_RDWR, 0o640);
  file.writeAll(fd, bytes("x".repeat(100_000)));
  file.writeAt(fd, bytes("far"), 2 ** 33);
  const far = new Uint8Array(3);
  const read = file.readAt(fd, far, 2 ** 33);
  file.setTimes(fd, 1_700_000_000_123_456_789n);
  const { mode, size, mtime } = file.status(path)!;
  file.truncate(fd, 10);
  const locked = file.withLock(fd, () => file.readText(path));
  file.close(fd);
  file.makeDirectory(`${folder}/b/c`);
  file.rename(path, `${folder}/b/d`);
  const directory = file.open(`${folder}/b`, file.O_RDONLY | file.O_DIRECTORY);
  const names = file.list(directory).sort();
  file.close(directory);
  return {
    far: [read, text(far)],
    status: [mode, size, `${mtime}`],
    locked,
    names,
    removed: [file.remove(`${folder}/b/d`), file.remove(`${folder}/b/d`)],
    missing: refused(() => file.readText("/no/such/file")),
    any: file.readTextIfAny("/no/such/file") === undefined,
    full: refused(() => file.writeText("/dev/full", "x")),
    procfs: file.readText("/proc/self/status").startsWith("Name:"),
  };
}

function programs() {
  const script = `${folder}/script`;
  const fd = file.open(script, file.O_CREAT | file.O_WRONLY, 0o755);
  file.writeAll(fd, bytes('#!/bin/sh\ncase "$1$GO" in kill) kill -9 $$ ;; esac\ncat\necho " $GO $#"\nexit 3\n'));
  file.close(fd);
  const killed = runProgram(script, { GO: "kill" }, bytes(""));
  return {
    ran: runProgram(script, { GO: "on" }, bytes("in")),
    large: runProgram(script, { GO: "" }, bytes("y".repeat(1_000_000))).output.length,
    stdin: [system("fstatfs", 0, new Uint8Array(128)) === 0, file.readAll(0).length], // still our own
    deaf: runProgram("/bin/true", {}, bytes("y".repeat(1_000_000))).status, // it never reads its stdin
    environment: runProgram("/usr/bin/env", { ONLY: "this" }, bytes("")).output,
    arguments: runProgram("/bin/sh", {}, bytes(""), ["-c", 'echo "$0:$1"', "a b", ""]).output,
    killed: killed.status,
    missing: refused(() => runProgram(`${folder}/none`, {}, bytes(""))),
    forbidden: refused(() => runProgram(folder, {}, bytes(""))),
  };
}

function network() {
  const { route } = host;
  const here = file.readText("/proc/thread-self/status").match(/^Pid:\s+(\d+)/m)![1];
  route.request(
    links.createLink({ name: "v0", info: { kind: "veth", data: { peer: { name: "v1" } } } }),
    links.changeLink({ name: "v0", up: true }),
    links.changeLink({ name: "v1", up: true }),
  );
  const find = (name: string) => links.readLink(route.request(links.getLink({ name }))[0]!.answers[0]!);
  const { index } = find("v0");
  route.request(
    createAddress({ index, ip: "10.1.2.3", prefix: 24 }),
    createRoute({ destination: "0.0.0.0/0", gateway: "10.1.2.1" }),
  );
  const [four] = route.dump(dumpAddresses(index)).map(readAddress);
  const routes = route.dump(dumpRoutes(2)).flatMap(readRoutes);
  const [{ error } = {}] = route.try(links.getLink({ name: "none" }));
  const self = openNamespace("/proc/self/ns/net");
  const inside = self.run(() => self.route.dump(links.dumpLinks()).length);
  self.close();
  return {
    mainThread: here === `${system("getpid")}`,
    links: route.dump(links.dumpLinks()).map((one) => links.readLink(one).name),
    inside,
    address: `${four!.ip}/${four!.prefix}`,
    gateway: routes.find(({ destination }) => destination === "0.0.0.0/0")?.gateway,
    refused: [error?.message, error?.code],
    helped: helped(index),
  };
}

/** A link deleted by a helper process: what was told of it. */
function helped(index: number) {
  const socket = openSocket(0, { groups: links.RTMGRP_LINK, timeoutMs: 2000 });
  const to = new Writer();
  writeMessage(to, links.deleteLink({ index }), 7, NLM_F_ACK);
  const pid = sendFromHelper(socket.fd, to.done())!;
  let gone = false;
  while (!gone) {
    eachMessage(socket.receive(true), (type, _, payload) => {
      if (type === links.LINK_GONE && links.readLink({ payload }).index === index) gone = true;
    });
  }
  socket.close();
  return pid > 1 && pid !== system("getpid");
}

const before = clock(1);
const seen = {
  calls: calls(),
  errors: errors(),
  files: files(),
  programs: programs(),
  network: network(),
  environment: environment.GROUND,
  named: /\b(bun|deno)$/.test(programName),
  clocks: clock(1) > before && clock(0) > 1.6e18,
};
file.writeAll(1, bytes(JSON.stringify(seen)));
