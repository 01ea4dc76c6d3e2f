import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { Writer } from "../../../lib/netlink/attr.ts";
import * as links from "../../../lib/netlink/rtnl/link.ts";
import { eachMessage, type Message, NLM_F_ACK, openSocket, writeMessage } from "../../../lib/netlink/socket.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { close, O_RDONLY, open } from "../../../lib/sys/file.ts";
import { holdFromHelper, sendFromHelper } from "../../../lib/sys/helper.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;

beforeAll(async () => {
  node = await makeNode("helper");
  await node.exec("ip", ["netns", "add", "a"]);
  ns = openNamespace(node.path("/run/netns/a"));
});

afterAll(async () => {
  ns.close();
  await node.close();
});

function bytesOf(message: Message): Uint8Array {
  const to = new Writer();
  writeMessage(to, message, 7, NLM_F_ACK);
  return to.done();
}

const listen = () => ns.run(() => openSocket(0, { groups: links.RTMGRP_LINK, timeoutMs: 2000 }));

/** Makes a veth pair, deletes it from a helper and returns what is seen when the kernel has told its end. */
function deleted<T>(keep: number[], look: (pid: number, socket: number) => T): T {
  const made = links.createLink({ name: "v0", info: { kind: "veth", data: { peer: { name: "v1" } } } });
  const { index } = links.readLink(ns.route.request(made)[0]!.answers[0]!);
  const socket = listen();
  const above = open("/dev/null", O_RDONLY); // not for the helper
  const pid = sendFromHelper(socket.fd, bytesOf(links.deleteLink({ index })), keep)!;
  for (let gone = false; !gone; ) {
    eachMessage(socket.receive(true), (type, _, payload) => {
      if (type === links.LINK_GONE && links.readLink({ payload }).index === index) gone = true;
    });
  }
  const seen = look(pid, socket.fd);
  socket.close();
  close(above);
  return seen;
}

test("the helper's message is answered on its maker's socket", () => {
  const socket = listen();
  const pid = sendFromHelper(socket.fd, bytesOf(links.getLink({ name: "lo" })))!;
  const types: number[] = [];
  while (types.length < 2) eachMessage(socket.receive(true), (type, sequence) => sequence === 7 && types.push(type));
  expect(types).toEqual([16, 2]); // RTM_NEWLINK, the acknowledgement
  expect(pid).toBeGreaterThan(1);
  socket.close();
});

test("a refusal is told like any other", () => {
  const socket = listen();
  sendFromHelper(socket.fd, bytesOf(links.deleteLink({ name: "none" })));
  const codes: number[] = [];
  while (codes.length < 1) {
    eachMessage(socket.receive(true), (_, sequence, payload) => sequence === 7 && codes.push(payload[0]! - 256));
  }
  expect(codes).toEqual([-19]);
  socket.close();
});

test("the maker is told of a link's end while the helper still waits for the kernel", () => {
  const names = deleted([], () => ns.route.dump(links.dumpLinks()).map((one) => links.readLink(one).name));
  expect(names).toEqual(["lo"]);
});

test("the helper holds the socket and what it is to keep, and no signal reaches it", () => {
  const kept = [0, ns.fd];
  const look = (pid: number, socket: number) => {
    try {
      const fds = readdirSync(`/proc/${pid}/fd`).map(Number);
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      return { socket, fds, blocked: status.match(/^SigBlk:\s+(\w+)/m)![1]! };
    } catch {
      return undefined; // it has ended already: the next one will be caught in its wait
    }
  };
  let seen: ReturnType<typeof look>;
  for (let tries = 0; !seen?.fds.length && tries < 20; tries++) seen = deleted(kept, look);
  expect(seen!.fds.sort((a, b) => a - b)).toEqual([...kept, seen!.socket].sort((a, b) => a - b));
  expect(seen!.blocked).toBe("fffffffffffbfeff"); // all but KILL and STOP
});

test("what a helper holds for its maker it holds until that has ended", async () => {
  const fd = open("/dev/null", O_RDONLY);
  const pid = holdFromHelper(fd)!;
  const held = () => readdirSync(`/proc/${pid}/fd`);
  for (let tries = 0; held().length !== 2 && tries < 100; tries++) await Bun.sleep(2);
  expect(
    held()
      .map((name) => readlinkSync(`/proc/${pid}/fd/${name}`))
      .sort(),
  ).toEqual(["/dev/null", expect.stringMatching(/^pipe:/)]);
  process.kill(pid, "SIGKILL"); // this process goes on; that it ends with its maker: test/lib/ip/release.test.ts
  close(fd);
});

test("many helpers in a row end well, whatever the garbage collector does", async () => {
  const pids: number[] = [];
  for (let i = 0; i < 30; i++) {
    const socket = listen();
    pids.push(sendFromHelper(socket.fd, bytesOf(links.getLink({ name: "lo" })))!);
    let answered = false;
    while (!answered) eachMessage(socket.receive(true), (type) => (answered ||= type === 2));
    socket.close();
    if (i % 10 === 0) Bun.gc(true);
  }
  await Bun.sleep(50);
  expect(new Set(pids).size).toBe(30);
  // Nobody has reaped them: their last word, the exit status, is still to be read.
  for (const pid of pids) {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    expect([fields[0], fields.at(-1)!.trim()]).toEqual(["Z", "0"]);
  }
});
