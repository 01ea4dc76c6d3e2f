// The foreign-function face under Deno: twin of ffi-bun.ts, same exports.
import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import process from "node:process";

/** How one C function is called: argument kinds, then the kind of its result. */
export type Signature = readonly [args: readonly Kind[], returns: Kind | "void"];
export type Kind = "i32" | "u32" | "i64" | "usize" | "buffer" | "pointer";
export type Call = (...args: any[]) => any;

/** Binds the C functions of `table` in the first of `libraries` that loads. */
export function link(libraries: string[], table: Record<string, Signature>): Record<string, Call> {
  const symbols: Record<string, any> = {};
  for (const name in table) {
    const [args, returns] = table[name]!;
    symbols[name] = { parameters: args.map(parameter), result: returns };
  }
  let refusal: unknown;
  for (const library of libraries) {
    try {
      const { symbols: calls } = Deno.dlopen(library, symbols);
      return Object.fromEntries(Object.keys(table).map((name) => [name, numeric((calls as any)[name], table[name]!)]));
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}

// Deno has no plain numbers for pointers: they travel as 64-bit integers here.
function parameter(kind: Kind): string {
  return kind === "pointer" ? "usize" : kind;
}

function numeric(call: Call, [args]: Signature): Call {
  const wide = args.map((kind) => kind === "i64" || kind === "usize" || kind === "pointer");
  if (!wide.includes(true)) return call;
  return (...given) => call(...given.map((value, at) => (wide[at] ? BigInt(value) : value)));
}

/** Whether a pointer that a call returns can be handed to another call, or written into a structure, as a number. */
export const pointersAreNumbers = false;

/** The 32-bit number that `pointer` points at (errno). */
export function readI32(pointer: any): number {
  return new Deno.UnsafePointerView(pointer).getInt32();
}

/** The address of a buffer that its owner keeps alive: for C structures that hold pointers. */
export function addressOf(buffer: Uint8Array): number {
  return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer as BufferSource)));
}

/** The NUL-terminated text that `pointer` points at. */
export function readText(pointer: any): string {
  return new Deno.UnsafePointerView(pointer).getCString();
}

export function sha512(text: string): Uint8Array {
  return createHash("sha512").update(text).digest();
}

/** Runs a program to its end: `input` on its stdin, stderr passed through. */
export function runProgram(
  path: string,
  env: Record<string, string>,
  input: Uint8Array,
): { status: number; output: string } {
  const child = spawnSync(path, [], { env, input, stdio: ["pipe", "pipe", "inherit"], maxBuffer: 64 << 20 });
  return { status: child.status ?? 1, output: child.stdout?.toString() ?? "" };
}

/** The name that the program was called by. */
export const programName: string = process.argv0;
export const environment: Record<string, string | undefined> = process.env;
