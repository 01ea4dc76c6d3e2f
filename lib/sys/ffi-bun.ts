// The foreign-function face under Bun. `#ffi` in package.json picks this file or its twin ffi-deno.ts.
// `Bun.FFI` is what the module "bun:ffi" wraps; importing that one costs each process its evaluation, some 0.1 ms.
import type { FFIFunction } from "bun:ffi";
import { mapped } from "./list.ts";

/** How one C function is called: argument kinds, then the kind of its result. */
export type Signature = readonly [args: readonly Kind[], returns: Kind | "void"];
export type Kind = "i32" | "u32" | "i64" | "usize" | "buffer" | "pointer";
export type Call = (...args: any[]) => any;

const kinds = {
  i32: "i32",
  u32: "u32",
  i64: "i64_fast",
  usize: "u64_fast",
  buffer: "ptr",
  pointer: "ptr",
  void: "void",
};

interface Native {
  /** Gives an error instead of throwing it. */
  dlopen(library: string, symbols: Record<string, FFIFunction>): { symbols: Record<string, Call> } | Error;
  ptr(buffer: Uint8Array): number;
  read: { i32(pointer: number, offset: number): number };
  CString(pointer: number, offset: number): string;
}

const native: Native = (Bun as any).FFI;

/** Binds the C functions of `table` in the first of `libraries` that loads. */
export function link(libraries: string[], table: Record<string, Signature>): Record<string, Call> {
  const symbols: Record<string, FFIFunction> = {};
  for (const name in table) {
    const [args, returns] = table[name]!;
    symbols[name] = { args: mapped(args, (kind) => kinds[kind]), returns: kinds[returns] } as FFIFunction;
  }
  let refusal: unknown;
  for (const library of libraries) {
    const loaded = native.dlopen(library, symbols);
    if (!(loaded instanceof Error)) return loaded.symbols;
    refusal = loaded;
  }
  throw refusal;
}

/** The 32-bit number that `pointer` points at (errno). */
export function readI32(pointer: number): number {
  return native.read.i32(pointer, 0);
}

/** The address of a buffer that its owner keeps alive: for C structures that hold pointers. */
export function addressOf(buffer: Uint8Array): number {
  return buffer.length > 0 ? native.ptr(buffer) : 0;
}

/** The NUL-terminated text that `pointer` points at. */
export function readText(pointer: number): string {
  return native.CString(pointer, 0);
}

export function sha512(text: string): Uint8Array {
  return new Bun.CryptoHasher("sha512").update(text).digest();
}

/** Runs a program, with arguments, to its end: `input` on its stdin, stderr passed through. Status -1 if a signal ended it; throws if it cannot be run. */
export function runProgram(
  path: string,
  env: Record<string, string>,
  input: Uint8Array,
  args: readonly string[] = [],
): { status: number; output: string } {
  const child = Bun.spawnSync([path, ...args], { env, stdin: input as any, stdout: "pipe", stderr: "inherit" });
  return { status: child.exitCode ?? -1, output: child.stdout.toString() };
}

/** The name that the program was called by. */
export const programName: string = process.argv0;
export const environment: Record<string, string | undefined> = process.env;
