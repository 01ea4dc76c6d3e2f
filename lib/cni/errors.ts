// Errors at the boundary, as the specification's section "Error" wants them printed.
// https://www.cni.dev/docs/spec/#error

import { NamespaceError } from "../netns/netns.ts";
import { isErrno } from "../sys/libc.ts";

export { isErrno };

/** Codes of the specification, the Go library's (8, 999), and our own from 100. */
export const codes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  badEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  invalidNamespace: 8,
  tryAgain: 11,
  unavailable: 50,
  limited: 51,
  /** The kernel or a file refused something. */
  systemFailure: 100,
  /** CHECK found a difference. */
  checkFailed: 101,
  /** What ADD was to make is there already. */
  alreadyExists: 102,
  /** No address is free in a range. */
  exhausted: 103,
  /** Several things went wrong in DEL or GC; details list them. */
  several: 104,
  /** A fault of ours. */
  internal: 999,
} as const;

/** An error as a client sees it: printed once, by main. */
export class CniError extends Error {
  readonly code: number;
  readonly details: string | undefined;
  constructor(code: number, message: string, options: { details?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.details = options.details;
  }
}

/** Makes a CniError of whatever was thrown. */
export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  if (error instanceof AggregateError) {
    const all = error.errors.map(toCniError);
    if (all.length === 1) return all[0]!;
    return new CniError(all[0]?.code ?? codes.several, error.message || (all[0]?.message ?? "Several things failed"), {
      details: all.map(({ message, details }) => (details ? `${message} (${details})` : message)).join("; "),
      cause: error,
    });
  }
  if (error instanceof Error && "errno" in error && "operation" in error) {
    return new CniError(codes.systemFailure, error.message, { cause: error });
  }
  if (error instanceof NamespaceError) {
    const reason = error.missing ? "there is no such file" : "it is no network namespace";
    return new CniError(codes.badEnvironment, `Cannot use CNI_NETNS ${quote(error.path)}: ${reason}`, { cause: error });
  }
  if (error instanceof Error) return new CniError(codes.internal, error.message, { cause: error });
  return new CniError(codes.internal, String(error));
}

/** Shows a value in a message: quoted, and cut where nobody would read on. */
export function quote(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = "(a value nested too deep to show)"; // the stack is used up; anything else in JSON can be shown
  }
  return text.length > 200 ? `${text.slice(0, 197)}...` : text;
}

/** "Cannot use KEY VALUE: REASON", code 7 unless said otherwise. */
export function badConfig(key: string, value: unknown, reason: string, code: number = codes.invalidConfig): CniError {
  return new CniError(code, `Cannot use ${key} ${quote(value)}: ${reason}`);
}

/**
 * Runs every step even if some fail, then throws what went wrong: for DEL and GC, which must get as far as they can. Where
 * the kernel has no netfilter (EPROTONOSUPPORT), nothing of ours can be in it.
 */
export function runAll(what: string, steps: readonly (() => void)[]): void {
  const errors: unknown[] = [];
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      if (!isErrno(error, "EPROTONOSUPPORT")) errors.push(error);
    }
  }
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, `Cannot finish ${what}: ${errors.length} steps failed`);
}

/**
 * Runs `body`; should it throw, what it handed to `undo` is done in reverse order and the first error goes on, with
 * the failures of undoing in its details.
 */
export function transaction<T>(body: (undo: (step: () => void) => void) => T): T {
  const steps: (() => void)[] = [];
  try {
    return body((step) => steps.push(step));
  } catch (error) {
    const failures: string[] = [];
    for (const step of steps.reverse()) {
      try {
        step();
      } catch (failure) {
        failures.push(toCniError(failure).message);
      }
    }
    if (failures.length === 0) throw error;
    const { code, message, details } = toCniError(error);
    const undone = `undoing failed too: ${failures.join("; ")}`;
    throw new CniError(code, message, { details: details ? `${details}; ${undone}` : undone, cause: error });
  }
}
