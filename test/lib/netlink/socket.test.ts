import { expect, test } from "bun:test";
import { u32 } from "../../../lib/netlink/attr.ts";
import {
  Connection,
  eachMessage,
  type Message,
  NetlinkError,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  openSocket,
} from "../../../lib/netlink/socket.ts";
import { isErrno, SystemError } from "../../../lib/sys/libc.ts";
import { hex, messageOf, rows } from "../../helpers/bytes.ts";
import * as fake from "../../helpers/transport.ts";
import { acknowledge, datagram, done, kernel, say } from "../../helpers/transport.ts";

const EPERM = 1;
const EEXIST = 17;
const ENODEV = 19;
const EINVAL = 22;

/** A request whose payload is one number, so that a test can tell requests apart. */
const ask = (number: number, accept?: string[]): Message => ({
  label: `ask ${number}`,
  type: 100,
  flags: 0x400,
  write: (to) => to.u32(number),
  accept,
});

const number = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);
const numbersOf = (answers: readonly { payload: Uint8Array }[]) => answers.map(({ payload }) => u32.read(payload));

test("a message is its length, type, flags, sequence number, port 0 and payload", () => {
  expect(rows(messageOf(ask(9)))).toEqual(
    rows(
      hex(`
        14 00 00 00  length 20
        64 00 01 04  type 100, NLM_F_REQUEST and 0x400
        07 00 00 00  sequence number
        00 00 00 00  port: the kernel fills it in
        09 00 00 00  payload
      `),
    ),
  );
});

test("messages in one send are aligned to four bytes", () => {
  const odd: Message = { ...ask(0), write: (to) => to.u8(1) };
  const transport = kernel((requests) => requests.map((one) => acknowledge(one)));
  new Connection(transport).request(odd, odd);
  expect(transport.sends[0]!.map(({ payload }) => payload.length)).toEqual([1, 1]);
});

test("thousands of messages go out in several sends, and their replies come in order, as all would not fit the socket", () => {
  const transport = kernel((requests) =>
    requests.flatMap((one) => [
      say(100, one.sequence, one.payload),
      acknowledge(one, u32.read(one.payload) % 2 ? ENODEV : 0),
    ]),
  );
  const messages = Array.from({ length: 2500 }, (_, at) => ask(at));
  const replies = new Connection(transport).try(...messages);
  expect(transport.sends.map((requests) => requests.length)).toEqual([1024, 1024, 452]);
  expect(replies.map(({ answers }) => numbersOf(answers)[0])).toEqual(messages.map((_, at) => at));
  expect(replies.map(({ error }) => error?.operation)).toEqual(
    messages.map(({ label }, at) => (at % 2 ? label : undefined)),
  );
});

test("all messages of a request go out in one send, each asking for an acknowledgement", () => {
  const transport = kernel((requests) => requests.map((one) => acknowledge(one)));
  const connection = new Connection(transport);
  expect(connection.request(ask(1), ask(2), ask(3))).toEqual([{ answers: [] }, { answers: [] }, { answers: [] }]);
  connection.request(ask(4));
  expect(transport.sends.map((send) => send.map(({ sequence }) => sequence))).toEqual([[1, 2, 3], [4]]);
  expect(transport.sends.flat().map(({ flags }) => flags)).toEqual(Array(4).fill(0x400 | NLM_F_REQUEST | NLM_F_ACK));
  expect(numbersOf(transport.sends.flat())).toEqual([1, 2, 3, 4]);
});

test("no message is no send", () => {
  const transport = kernel(() => []);
  expect(new Connection(transport).request()).toEqual([]);
  expect(transport.sends).toEqual([]);
});

test("answers belong to the request of their sequence number", () => {
  const transport = kernel(([a, b]) => [
    say(101, a!.sequence, number(10)),
    acknowledge(a!),
    say(102, b!.sequence, number(20)),
    say(103, b!.sequence, number(21)),
    acknowledge(b!),
  ]);
  const [first, second] = new Connection(transport).request(ask(1), ask(2));
  expect(first!.answers).toEqual([{ type: 101, payload: number(10) }]);
  expect(second!.answers.map(({ type }) => type)).toEqual([102, 103]);
});

test.each([
  ["one datagram", (messages: Uint8Array[]) => [datagram(...messages)]],
  ["a datagram each", (messages: Uint8Array[]) => messages],
  ["two to a datagram", ([a, b, c, d]: Uint8Array[]) => [datagram(a!, b!), datagram(c!, d!)]],
])("it does not matter that acknowledgements come in %s", (_, split) => {
  const transport = kernel((requests) => split(requests.map((one) => acknowledge(one))));
  expect(new Connection(transport).request(ask(1), ask(2), ask(3), ask(4))).toHaveLength(4);
});

test("an error in the middle is thrown when all replies are in", () => {
  const transport = kernel(([a, b, c]) => [acknowledge(a!), acknowledge(b!, ENODEV), acknowledge(c!)]);
  const connection = new Connection(transport);
  expect(() => connection.request(ask(1), ask(2), ask(3))).toThrow("Cannot ask 2: no such device");
  expect(transport.receive(false)).toHaveLength(0);
});

test("of several errors the first that is not accepted is thrown", () => {
  const transport = kernel(([a, b, c]) => [acknowledge(a!, EEXIST), acknowledge(b!, ENODEV), acknowledge(c!, EPERM)]);
  const connection = new Connection(transport);
  expect(() => connection.request(ask(1, ["EEXIST"]), ask(2), ask(3))).toThrow("Cannot ask 2");
  expect(() => connection.request(ask(1, ["EEXIST"]), ask(2, ["EEXIST", "ENODEV"]), ask(3))).toThrow("Cannot ask 3");
});

test("an accepted error is still told in the reply", () => {
  const transport = kernel(([a]) => [acknowledge(a!, EEXIST)]);
  const [reply] = new Connection(transport).request(ask(1, ["EEXIST"]));
  expect(reply!.error?.code).toBe("EEXIST");
});

test("try leaves every refusal to the caller", () => {
  const transport = kernel(([a, b]) => [acknowledge(a!, EPERM), acknowledge(b!)]);
  const replies = new Connection(transport).try(ask(1), ask(2));
  expect(replies.map(({ error }) => error?.code)).toEqual(["EPERM", undefined]);
});

test("a refusal says what was asked, the errno and the kernel's own words", () => {
  const transport = kernel(([a]) => [acknowledge(a!, EINVAL, "Device is already enslaved.")]);
  const [{ error } = {}] = new Connection(transport).try(ask(1));
  expect(error).toBeInstanceOf(NetlinkError);
  expect(error).toMatchObject({
    message: "Cannot ask 1: invalid argument (Device is already enslaved)",
    operation: "ask 1",
    errno: EINVAL,
    code: "EINVAL",
  });
  expect(isErrno(error, "EINVAL")).toBe(true);
});

test("the kernel's words are found behind an uncapped copy of the request too", () => {
  const transport = kernel(([a]) => {
    const request = say(a!.type, a!.sequence, hex("01 00 00 00 02 00 00 00 03"), a!.flags); // 25 bytes and padding
    const code = new Uint8Array(new Int32Array([-EINVAL]).buffer);
    return [say(fake.NLMSG_ERROR, a!.sequence, datagram(code, request, fake.said("Not so")), fake.ACK_TLVS)];
  });
  expect(() => new Connection(transport).request(ask(1))).toThrow("Cannot ask 1: invalid argument (Not so)");
});

test("an acknowledgement may come with words and is no error", () => {
  const transport = kernel(([a]) => [acknowledge(a!, 0, "A warning")]);
  expect(new Connection(transport).request(ask(1))).toEqual([{ answers: [] }]);
});

test("an errno without a name is told by its number", () => {
  const transport = kernel(([a]) => [acknowledge(a!, 524)]);
  expect(() => new Connection(transport).request(ask(1))).toThrow("Cannot ask 1: errno 524");
});

test("notifications, and answers to what was given up earlier, are passed over", () => {
  const transport = kernel(([a]) => [
    say(16, 0, number(1)), // a notification
    datagram(say(16, 999, number(2)), acknowledge({ ...a!, sequence: 500 }, EPERM)), // somebody else's
    datagram(say(20, a!.sequence, number(3)), acknowledge(a!)),
  ]);
  const [reply] = new Connection(transport).request(ask(1));
  expect(numbersOf(reply!.answers)).toEqual([3]);
});

test("NLMSG_NOOP is no answer", () => {
  const transport = kernel(([a]) => [say(1, a!.sequence, new Uint8Array(0)), acknowledge(a!)]);
  expect(new Connection(transport).request(ask(1))[0]!.answers).toEqual([]);
});

test("a dump is everything up to DONE, over any number of datagrams", () => {
  const transport = kernel(([a]) => [
    datagram(say(20, a!.sequence, number(1), 2), say(20, a!.sequence, number(2), 2)),
    datagram(say(20, 0, number(99)), say(20, a!.sequence, number(3), 2)), // a notification in between
    done(a!.sequence),
  ]);
  expect(numbersOf(new Connection(transport).dump(ask(1)))).toEqual([1, 2, 3]);
  expect(transport.sends[0]![0]!.flags & NLM_F_DUMP).toBe(NLM_F_DUMP);
  expect(transport.sends[0]![0]!.flags & NLM_F_ACK).toBe(0); // a dump ends with DONE, not with an acknowledgement
});

test("a DONE without an errno, as old kernels send it, ends a dump", () => {
  const transport = kernel(([a]) => [say(fake.NLMSG_DONE, a!.sequence, new Uint8Array(0), 2)]);
  expect(new Connection(transport).dump(ask(1))).toEqual([]);
});

test.each([
  ["an answer", (sequence: number) => [say(20, sequence, number(0), fake.INTERRUPTED | 2), done(sequence)]],
  ["the end", (sequence: number) => [say(20, sequence, number(0), 2), done(sequence, 0, undefined, fake.INTERRUPTED)]],
])("a dump of which %s is marked as interrupted is asked for again, with what came thrown away", (_, interrupted) => {
  const transport = kernel(([a], send) =>
    send < 3 ? interrupted(a!.sequence) : [say(20, a!.sequence, number(send), 2), done(a!.sequence)],
  );
  expect(numbersOf(new Connection(transport).dump(ask(1)))).toEqual([3]);
  expect(transport.sends.map(([one]) => one!.sequence)).toEqual([1, 2, 3]);
});

test("a dump that is interrupted for ever is given up", () => {
  const transport = kernel(([a]) => [done(a!.sequence, 0, undefined, fake.INTERRUPTED)]);
  expect(() => new Connection(transport).dump(ask(1))).toThrow(
    "Cannot ask 1: interrupted system call (changed during each",
  );
  expect(transport.sends).toHaveLength(32);
});

test.each([
  ["DONE", (a: fake.Asked) => done(a.sequence, EINVAL, "Invalid dump request")],
  ["an error", (a: fake.Asked) => acknowledge(a, EINVAL, "Invalid dump request")],
])("a dump that ends with an errno in %s is refused with the kernel's words", (_, end) => {
  const transport = kernel(([a]) => [say(20, a!.sequence, number(1), 2), end(a!)]);
  expect(() => new Connection(transport).dump(ask(1))).toThrow("Cannot ask 1: invalid argument (Invalid dump request)");
});

test("a dump may accept an errno: it holds what came before", () => {
  const transport = kernel(([a]) => [say(20, a!.sequence, number(1), 2), done(a!.sequence, ENODEV)]);
  expect(numbersOf(new Connection(transport).dump(ask(1, ["ENODEV"])))).toEqual([1]);
});

test("after lost replies the socket is read empty, and the next request is served", () => {
  const lost = new SystemError("receive from the kernel", 105);
  const transport = kernel(([a, b], send) =>
    send === 1 ? [acknowledge(a!), lost, acknowledge(b!, EPERM), say(20, 0, number(1))] : [acknowledge(a!)],
  );
  const connection = new Connection(transport);
  expect(() => connection.request(ask(1), ask(2))).toThrow("Cannot receive from the kernel: no buffer space available");
  expect(transport.receive(false)).toHaveLength(0);
  expect(connection.request(ask(3))).toEqual([{ answers: [] }]);
});

test.each([
  ["a message that says it is longer than the datagram", "20 00 00 00 02 00 00 00 01 00 00 00 00 00 00 00"],
  ["a message shorter than its header", "0f 00 00 00 02 00 00 00 01 00 00 00 00 00 00 00"],
  ["a message of no length", "00 00 00 00 02 00 00 00 01 00 00 00 00 00 00 00"],
  ["an error without an errno", "12 00 00 00 02 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00"],
])("%s is a RangeError", (_, bytes) => {
  expect(() => new Connection(kernel(() => [hex(bytes)])).request(ask(1))).toThrow(RangeError);
});

test("less than a header at the end of a datagram is passed over", () => {
  const seen: number[] = [];
  eachMessage(datagram(say(20, 1, number(1)), new Uint8Array(12)), (type) => seen.push(type));
  expect(seen).toEqual([20]);
});

const begin: Message = { label: "begin", type: 16, flags: 0, write: (to) => to.u32(10) };
const end: Message = { label: "end", type: 17, flags: 0, write: (to) => to.u32(10) };

test("a batch is one send, and its last message alone is acknowledged", () => {
  const transport = kernel(([, , b]) => [acknowledge(b!)]);
  const replies = new Connection(transport).batch(begin, [ask(1), ask(2)], end);
  expect(replies.every(({ error }) => error === undefined)).toBe(true);
  expect(transport.sends[0]!.map(({ type }) => type)).toEqual([16, 100, 100, 17]);
  expect(transport.sends[0]!.map(({ flags }) => flags & NLM_F_ACK)).toEqual([0, 0, NLM_F_ACK, 0]);
});

test("a batch tells which of its messages was refused", () => {
  const transport = kernel(([, a, b]) => [acknowledge(a!, EEXIST), acknowledge(b!)]);
  const replies = new Connection(transport).batch(begin, [ask(1), ask(2)], end);
  expect(replies.map(({ error }) => error?.message)).toEqual([undefined, "Cannot ask 1: file exists", undefined]);
});

test("a batch refused as a whole tells so in its first reply", () => {
  const transport = kernel(([first]) => [acknowledge(first!, EPERM)]);
  const replies = new Connection(transport).batch(begin, [ask(1)], end);
  expect(replies[0]!.error?.message).toBe("Cannot begin: operation not permitted");
});

const GETLINK: Message = {
  label: "find link 1",
  type: 18,
  flags: 0,
  write(to) {
    to.skip(4);
    to.u32(1);
    to.skip(8);
  },
};

test("a real socket gives many answers in one send, in their order", () => {
  const connection = new Connection(openSocket(0));
  try {
    const replies = connection.request(...Array<Message>(20).fill(GETLINK));
    expect(replies.map(({ answers }) => answers.length)).toEqual(Array(20).fill(1));
    expect(connection.dump({ ...GETLINK, write: (to) => to.skip(16) }).length).toBeGreaterThan(0);
  } finally {
    connection.close();
  }
});

test("a real socket that nobody answers on times out, and does not wait when told so", () => {
  const socket = openSocket(0, { timeoutMs: 20 });
  try {
    expect(socket.receive(false)).toHaveLength(0);
    expect(() => socket.receive(true)).toThrow("Cannot receive from the kernel: timed out");
  } finally {
    socket.close();
  }
});

test("a protocol that the kernel lacks is a SystemError", () => {
  expect(() => openSocket(999)).toThrow("Cannot open a netlink socket: protocol not supported");
});
