// What the kernel says of a batch, as linux/net/netfilter/nfnetlink.c sends it: errors of single messages after the whole
// batch, an acknowledgement where it is asked for, refusals of the whole at the sequence number of its beginning.
import { expect, test } from "bun:test";
import { Connection, type Message, NetlinkError } from "../../../lib/netlink/socket.ts";
import { getGeneration } from "../../../lib/nftables/message.ts";
import { addTable, deleteTable } from "../../../lib/nftables/table.ts";
import { change, commit, isOutdated, patience, tryCommit } from "../../../lib/nftables/transaction.ts";
import { hex } from "../../helpers/bytes.ts";
import { type Asked, acknowledge, datagram, kernel, say } from "../../helpers/transport.ts";

const [ENOENT, EPERM, EINVAL, ERESTART] = [2, 1, 22, 85];
const table = (name: string) => ({ family: "inet", name }) as const;
const two = [addTable(table("a")), deleteTable(table("b"))];
const generation = (asked: Asked, id: number) =>
  say(0x0a0f, asked.sequence, hex(`00 00 00 0a 08 00 01 00 00 00 00 ${id.toString(16).padStart(2, "0")}`));

test("a batch has its beginning, the changes in order and its end; only the last change is acknowledged", () => {
  const transport = kernel(([, , last]) => [acknowledge(last!)]);
  commit(new Connection(transport), two);
  const [asked] = transport.sends;
  expect(asked!.map(({ type, flags }) => [type, flags])).toEqual([
    [16, 1],
    [0x0a00, 0x401],
    [0x0a02, 5],
    [17, 1],
  ]);
  expect(new Set(asked!.map(({ sequence }) => sequence)).size).toBe(4);
});

test("nothing to change is nothing sent", () => {
  const transport = kernel(() => []);
  commit(new Connection(transport), []);
  expect(transport.sends).toEqual([]);
});

test("a refused change is named, also when the last one alone would have worked", () => {
  const transport = kernel(([, first, last]) => [
    datagram(acknowledge(first!, EINVAL, "Not that."), acknowledge(last!)),
  ]);
  expect(() => commit(new Connection(transport), two)).toThrow(
    new NetlinkError("add table inet a", EINVAL, "Not that."),
  );
});

test("of several refused changes all are told, the first is thrown", () => {
  const refuse = ([, first, last]: Asked[]) => [acknowledge(first!, EINVAL), acknowledge(last!, ENOENT)];
  expect(tryCommit(new Connection(kernel(refuse)), two).map(({ operation, code }) => [operation, code])).toEqual([
    ["add table inet a", "EINVAL"],
    ["delete table inet b", "ENOENT"],
  ]);
  expect(() => commit(new Connection(kernel(refuse)), two)).toThrow(new NetlinkError("add table inet a", EINVAL));
});

test("a batch refused as a whole ends at once: no right to it", () => {
  const transport = kernel(([begin]) => [acknowledge(begin!, EPERM)]);
  expect(() => commit(new Connection(transport), two)).toThrow(new NetlinkError("change nftables", EPERM));
});

test("what still comes after a commit failed is not taken for the answer to the next request", () => {
  const transport = kernel((asked, send) =>
    send === 1
      ? [acknowledge(asked[0]!, EINVAL), acknowledge(asked[2]!)]
      : [generation(asked[0]!, 9), acknowledge(asked[0]!)],
  );
  const connection = new Connection(transport);
  expect(tryCommit(connection, two)).toHaveLength(1);
  expect(connection.request(getGeneration())[0]!.answers).toHaveLength(1);
});

/** Answers generations in order; refuses every batch that has an old one. */
function racing(generations: number[]) {
  const id = () => generations[0]!;
  return kernel((asked) => {
    if (asked[0]!.type === 0x0a10) {
      return asked.flatMap((one, at) => (at === 0 ? [generation(one, id()), acknowledge(one)] : [acknowledge(one)]));
    }
    const theirs = asked[0]!.payload.at(-1);
    generations.shift();
    return [
      theirs === id() || generations.length === 0 ? acknowledge(asked.at(-2)!) : acknowledge(asked[0]!, ERESTART),
    ];
  });
}

test("a change is planned on what is read after the generation, which goes with it", () => {
  const transport = racing([5]);
  const plans: number[] = [];
  const read: Message = addTable(table("read"));
  change(
    new Connection(transport),
    (replies) => {
      plans.push(replies.length);
      return two;
    },
    [read],
  );
  expect(plans).toEqual([1]);
  expect(transport.sends.map((asked) => asked.map(({ type }) => type))).toEqual([
    [0x0a10, read.type],
    [16, 0x0a00, 0x0a02, 17],
  ]);
  expect([...transport.sends[1]![0]!.payload.slice(-4)]).toEqual([0, 0, 0, 5]);
});

test("a change that others outran is planned anew on the new state", () => {
  const transport = racing([5, 6, 7]);
  let plans = 0;
  change(new Connection(transport), () => {
    plans++;
    return two;
  });
  expect(plans).toBe(3);
});

test("a change that plans nothing sends no batch", () => {
  const transport = racing([5]);
  change(new Connection(transport), () => []);
  expect(transport.sends).toHaveLength(1);
});

test("a change that is always outrun gives up, and says so", () => {
  const transport = kernel(([first]) =>
    first!.type === 16 ? [acknowledge(first!, ERESTART)] : [generation(first!, 1), acknowledge(first!)],
  );
  expect(() => change(new Connection(transport), () => two)).toThrow(new NetlinkError("change nftables", ERESTART));
  expect(transport.sends).toHaveLength(2 * patience);
});

test("only the refusal of an old generation counts as outdated", () => {
  expect(isOutdated(new NetlinkError("x", ERESTART))).toBe(true);
  expect(isOutdated(new NetlinkError("x", ENOENT))).toBe(false);
  expect(isOutdated(undefined)).toBe(false);
});
