import { describe, expect, test } from "bun:test";
import { badConfig, CniError, codes, quote, runAll, toCniError, transaction } from "../../../lib/cni/errors.ts";
import { NetlinkError } from "../../../lib/netlink/socket.ts";
import { NamespaceError } from "../../../lib/netns/netns.ts";
import { SystemError } from "../../../lib/sys/libc.ts";

const fail = (error: unknown) => () => {
  throw error;
};

/** What `body` throws. */
function thrown(body: () => unknown): any {
  try {
    body();
  } catch (error) {
    return error;
  }
  return undefined;
}

test("codes are the specification's below 100, ours from there, and all different", () => {
  const ours = ["systemFailure", "checkFailed", "alreadyExists", "exhausted", "several"];
  for (const [name, code] of Object.entries(codes)) {
    if (name === "internal") expect(code).toBe(999);
    else expect([name, code >= 100]).toEqual([name, ours.includes(name)]);
  }
  expect(new Set(Object.values(codes)).size).toBe(Object.keys(codes).length);
});

test.each<[string, unknown, number, string]>([
  ["a refusal of the system", new SystemError('open "/x"', 13), 100, 'Cannot open "/x": permission denied'],
  ["a refusal of netlink", new NetlinkError("create veth", 17, "Busy."), 100, "Cannot create veth: file exists (Busy)"],
  ["a missing namespace", new NamespaceError("/x", true), 4, 'Cannot use CNI_NETNS "/x": there is no such file'],
  ["what is no namespace", new NamespaceError("/x", false), 4, 'Cannot use CNI_NETNS "/x": it is no network namespace'],
  ["a fault of ours", new TypeError("x is not a function"), 999, "x is not a function"],
  ["a text", "text", 999, "text"],
  ["nothing", undefined, 999, "undefined"],
])("%s becomes an error with its code", (_, error, code, message) => {
  const made = toCniError(error);
  expect(made).toBeInstanceOf(CniError);
  expect(made).toMatchObject({ code, message });
  if (error instanceof Error) expect(made.cause).toBe(error);
});

test("a CniError stays what it is", () => {
  const error = new CniError(11, "Cannot go on", { details: "because" });
  expect(toCniError(error)).toBe(error);
  expect(error).toMatchObject({ code: 11, details: "because" });
});

test("of several errors the first gives the code, and details name them all", () => {
  const first = new CniError(11, "Cannot go on");
  const both = new AggregateError([first, new SystemError("remove it", 2)], "Cannot finish DEL: 2 steps failed");
  expect(toCniError(both)).toMatchObject({
    code: 11,
    message: "Cannot finish DEL: 2 steps failed",
    details: "Cannot go on; Cannot remove it: no such file or directory",
  });
  expect(toCniError(new AggregateError([first]))).toBe(first);
  expect(toCniError(new AggregateError([]))).toMatchObject({ code: codes.several });
});

test.each([
  ["text", '"text"'],
  [5, "5"],
  [undefined, "undefined"],
  [null, "null"],
  [{ a: [1] }, '{"a":[1]}'],
  ["\ud800\n", '"\\ud800\\n"'],
])("a value is shown as JSON, %j", (value, shown) => {
  expect(quote(value)).toBe(shown);
});

test("what is long, or nested too deep, is cut", () => {
  expect(quote("x".repeat(198))).toHaveLength(200);
  expect(quote("x".repeat(5000))).toHaveLength(200);
  expect(quote("x".repeat(5000))).toEndWith("xxx...");
  const deep = JSON.parse(`${"[".repeat(20_000)}${"]".repeat(20_000)}`);
  expect(quote(deep).length).toBeLessThanOrEqual(200);
});

test("an unusable value is named with its key and the reason", () => {
  expect(badConfig("vlanId", 4095, "must be 0 to 4094")).toMatchObject({
    code: codes.invalidConfig,
    message: "Cannot use vlanId 4095: must be 0 to 4094",
  });
  expect(badConfig("mode", "x", "no", codes.unsupportedField).code).toBe(codes.unsupportedField);
});

describe("runAll", () => {
  test("runs every step, and throws what went wrong at the end", () => {
    const ran: number[] = [];
    const [one, two] = [new Error("one"), new Error("two")];
    const steps = [() => ran.push(1), fail(one), () => ran.push(2), fail(two), () => ran.push(3)];
    const error = thrown(() => runAll("DEL", steps as (() => void)[]));
    expect(ran).toEqual([1, 2, 3]);
    expect(error).toBeInstanceOf(AggregateError);
    expect(error).toMatchObject({ message: "Cannot finish DEL: 2 steps failed", errors: [one, two] });
  });

  test("throws a single error as it is, and none if all went well", () => {
    const one = new Error("one");
    expect(thrown(() => runAll("DEL", [() => {}, fail(one)]))).toBe(one);
    const none = Object.assign(new Error("no netfilter"), { code: "EPROTONOSUPPORT" });
    expect(thrown(() => runAll("DEL", [fail(none), fail(one)]))).toBe(one);
    expect(thrown(() => runAll("DEL", [() => {}]))).toBeUndefined();
    expect(thrown(() => runAll("DEL", []))).toBeUndefined();
  });
});

describe("a transaction", () => {
  test("that succeeds undoes nothing", () => {
    const undone: number[] = [];
    expect(
      transaction((undo) => {
        undo(() => undone.push(1));
        return "result";
      }),
    ).toBe("result");
    expect(undone).toEqual([]);
  });

  test("that fails is undone in reverse order, and the error is the first one", () => {
    const undone: number[] = [];
    const error = new CniError(11, "Cannot go on");
    const body = () =>
      transaction((undo) => {
        for (const step of [1, 2, 3]) undo(() => undone.push(step));
        throw error;
      });
    expect(thrown(body)).toBe(error);
    expect(undone).toEqual([3, 2, 1]);
  });

  test("goes on undoing when a step of that fails, and tells of it in the details", () => {
    const undone: number[] = [];
    const cause = new CniError(11, "Cannot go on", { details: "because" });
    const body = () =>
      transaction((undo) => {
        undo(() => undone.push(1));
        undo(fail(new SystemError("remove it", 16)));
        undo(() => undone.push(3));
        throw cause;
      });
    expect(thrown(body)).toMatchObject({
      ...{ code: 11, message: "Cannot go on", cause },
      details: "because; undoing failed too: Cannot remove it: device or resource busy",
    });
    expect(undone).toEqual([3, 1]);
  });

  test("that fails with what is no CniError keeps it while undoing goes well", () => {
    const error = new SystemError("do it", 1);
    expect(thrown(() => transaction(fail(error)))).toBe(error);
  });
});
