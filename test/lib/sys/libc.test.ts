import { expect, test } from "bun:test";
import { constants } from "node:os";
import * as fc from "fast-check";
import {
  checked,
  clock,
  contextCalls,
  cstring,
  errno,
  errnoName,
  errnoText,
  isErrno,
  numberOf,
  SystemError,
  sleep,
  system,
  waitUntil,
} from "../../../lib/sys/libc.ts";

test("a call gives its result, and -1 and the errno where it fails", () => {
  expect(system("getpid")).toBe(process.pid);
  expect(system("close", -1)).toBe(-1);
  expect(errno()).toBe(constants.errno.EBADF);
  expect(system("openat", -100, cstring("/no/such/file"), 0, 0)).toBe(-1);
  expect(errno()).toBe(constants.errno.ENOENT);
  expect(system("kill", process.pid, 0)).toBe(0);
});

test("errno and buffers survive garbage collection", () => {
  let wrong = 0;
  for (let i = 0; i < 5000; i++) {
    const out = new Uint8Array(40 + (i % 40));
    const length = system("readlinkat", -100, cstring("/proc/self/ns/net"), out, out.length);
    if (length < 10 || out[0] !== 110 || out[3] !== 58) wrong++; // "net:"
    if (system("openat", -100, cstring(`/no/${i}`), 0, 0) !== -1 || errno() !== 2) wrong++;
    if (i % 500 === 0) Bun.gc(true);
  }
  expect(wrong).toBe(0);
});

test("numbers of calls are those of this machine", () => {
  expect([numberOf("statx"), numberOf("setns")]).toEqual(process.arch === "arm64" ? [291, 268] : [332, 308]);
});

test("every errno has the number that the system gives it", () => {
  const named = Object.entries(constants.errno).filter(([name]) => !["EWOULDBLOCK", "ENOTSUP"].includes(name));
  const ours = named.filter(([, number]) => !errnoName(number).startsWith("errno "));
  expect(ours.length).toBeGreaterThan(40);
  for (const [name, number] of ours) expect([name, errnoName(number)]).toEqual([name, name]);
  for (const [, number] of ours) expect(errnoText(number)).toMatch(/^[a-z].*[^.]$/);
});

test("an errno without a name is told by its number", () => {
  expect([errnoName(9999), errnoText(9999)]).toEqual(["errno 9999", "errno 9999"]);
});

test("a SystemError says what was tried and why it failed", () => {
  const error = new SystemError('open "/x"', 13);
  expect(error).toMatchObject({ message: 'Cannot open "/x": permission denied', code: "EACCES", errno: 13 });
  expect(error.operation).toBe('open "/x"');
  expect(isErrno(error, "ENOENT", "EACCES")).toBe(true);
  expect(isErrno(error, "ENOENT")).toBe(false);
  for (const other of [undefined, null, "EACCES", { code: "EACCES" }, new Error("EACCES")]) {
    expect(isErrno(other, "EACCES")).toBe(false);
  }
});

test("checked passes on what is no failure", () => {
  expect(checked(0, "do it")).toBe(0);
  expect(checked(7, "do it")).toBe(7);
  expect(() => checked(system("close", -1), "close it")).toThrow("Cannot close it: bad file descriptor");
});

test("text becomes bytes that end with a NUL, and holds none", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      if (text.includes("\0")) expect(() => cstring(text)).toThrow(TypeError);
      else expect(cstring(text)).toEqual(new TextEncoder().encode(`${text}\0`));
    }),
  );
  expect(() => cstring("a\0b")).toThrow('Cannot pass "a\\u0000b" to the system: it holds a NUL');
});

test("clocks are those of the system", () => {
  expect(Math.abs(clock(0) / 1e6 - Date.now())).toBeLessThan(1000);
  const [before, after] = [clock(1), clock(1)];
  expect(after).toBeGreaterThanOrEqual(before);
  expect(clock(7)).toBeGreaterThanOrEqual(before); // CLOCK_BOOTTIME counts sleep too
});

test("sleeping takes the time that it should", () => {
  const started = performance.now();
  sleep(20);
  expect(performance.now() - started).toBeWithin(19, 500);
});

test("waiting ends when what is waited for is there, and after the time given", () => {
  let asked = 0;
  expect(waitUntil(() => ++asked === 4, 1000)).toBe(true);
  expect(asked).toBe(4);
  expect(waitUntil(() => true, 0)).toBe(true);
  expect(waitUntil(() => false, 5)).toBe(false);
});

test("the calls for a helper process are there on glibc", () => {
  const c = contextCalls()!;
  expect([c.syscall, c.setcontext].every((address) => address > 4096)).toBe(true);
});
