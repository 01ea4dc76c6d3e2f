// The foreign-function face under Deno: twin of ffi-bun.ts, same exports.

import { createHash } from "node:crypto";
import process from "node:process";

/** How one C function is called: argument kinds, then the kind of its result. */
export type Signature = readonly [args: readonly Kind[], returns: Kind | "void"];
export type Kind = "i32" | "u32" | "i64" | "usize" | "buffer" | "pointer";
export type Call = (...args: any[]) => any;

/** Binds the C functions of `table` in the first of `libraries` that loads. */
export function link(libraries: string[], table: Record<string, Signature>): Record<string, Call> {
  const symbols: Deno.ForeignLibraryInterface = {};
  for (const name in table) {
    const [args, returns] = table[name]!;
    symbols[name] = { parameters: args.map(native), result: native(returns) } as Deno.ForeignFunction;
  }
  let refusal: unknown;
  for (const library of libraries) {
    try {
      const calls = Deno.dlopen(library, symbols).symbols as Record<string, Call>;
      return Object.fromEntries(Object.keys(table).map((name) => [name, numeric(calls[name]!, table[name]![1])]));
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}

// Deno shows pointers as objects; as integers of their size they are the numbers that the Bun twin deals in.
function native(kind: Kind | "void"): string {
  return kind === "pointer" ? "usize" : kind;
}

// 64-bit arguments may be numbers, but 64-bit results always are bigints.
function numeric(call: Call, returns: Kind | "void"): Call {
  return returns === "i64" || returns === "usize" || returns === "pointer" ? (...args) => Number(call(...args)) : call;
}

function viewOf(pointer: number): Deno.UnsafePointerView {
  return new Deno.UnsafePointerView(Deno.UnsafePointer.create(BigInt(pointer))!);
}

let view: Deno.UnsafePointerView;
let viewed: number | undefined;

/** The 32-bit number that `pointer` points at (errno). Allocates nothing when it is asked for the same again. */
export function readI32(pointer: number): number {
  if (pointer !== viewed) {
    view = viewOf(pointer);
    viewed = pointer;
  }
  return view.getInt32();
}

/** The address of a buffer that its owner keeps alive: for C structures that hold pointers. */
export function addressOf(buffer: Uint8Array): number {
  // V8 moves the bytes of a small array about; those of its ArrayBuffer stay where they are.
  const storage = buffer.buffer as ArrayBuffer;
  return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(storage))) + buffer.byteOffset;
}

/** The NUL-terminated text that `pointer` points at. */
export function readText(pointer: number): string {
  return viewOf(pointer).getCString();
}

export function sha512(text: string): Uint8Array {
  return createHash("sha512").update(text).digest();
}

/** Runs a program, with arguments, to its end: `input` on its stdin, stderr passed through. Status -1 if a signal ended it; throws if it cannot be run. */
export function runProgram(
  path: string,
  env: Record<string, string>,
  input: Uint8Array,
  args: readonly string[] = [],
): { status: number; output: string } {
  // Deno offers no input to a program that it waits for (its node:child_process does, but hangs when much is written
  // back, and leaves the environment as it is). So the input is a file in memory, inherited in the place of our stdin.
  const { memfd_create, write, lseek, fcntl, dup2, close } = link(["libc.so.6"], fileCalls) as Record<string, Call>;
  const file = memfd_create!(new Uint8Array(1), MFD_CLOEXEC);
  for (let done = 0; done < input.length; ) done += write!(file, input.subarray(done), input.length - done);
  lseek!(file, 0, 0);
  const own = fcntl!(0, F_DUPFD_CLOEXEC, 3);
  dup2!(file, 0);
  try {
    const options: Deno.CommandOptions = { env, clearEnv: true, stdin: "inherit", stderr: "inherit" };
    const { code, signal, stdout } = new Deno.Command(path, { ...options, args: [...args] }).outputSync();
    return { status: signal ? -1 : code, output: new TextDecoder().decode(stdout) };
  } finally {
    if (own < 0) close!(0);
    else dup2!(own, 0);
    close!(own);
    close!(file);
  }
}

const MFD_CLOEXEC = 1;
const F_DUPFD_CLOEXEC = 1030;
const fileCalls: Record<string, Signature> = {
  memfd_create: [["buffer", "u32"], "i32"],
  write: [["i32", "buffer", "usize"], "i32"],
  lseek: [["i32", "i64", "i32"], "i64"],
  fcntl: [["i32", "i32", "i32"], "i32"],
  dup2: [["i32", "i32"], "i32"],
  close: [["i32"], "i32"],
};

/** The name that the program was called by. */
export const programName: string = process.argv0;
export const environment: Record<string, string | undefined> = process.env;
