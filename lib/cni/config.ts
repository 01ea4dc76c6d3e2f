// Configuration tables. One table per plugin gives the TypeScript type, the reading of the JSON, its JSON Schema and
// its page in the docs. Reading follows Go's encoding/json, which decides what real configurations look like:
// keys match without regard to case, null counts as absent, unknown keys are ignored, a wrong type is an error.
import { type Cidr, formatCidr, formatIp, parseCidr, parseIp, parseMac } from "../netlink/inet.ts";
import { mapped } from "../sys/list.ts";
import { badConfig, codes } from "./errors.ts";

/** How a value of one type is read: `key` is its full name for messages. */
export interface Type<T> {
  readonly schema: Record<string, unknown>;
  read(value: unknown, key: string, bounds: Bounds): T;
}

export interface Bounds {
  min?: number;
  max?: number;
}

export interface Options extends Bounds {
  required?: boolean;
  default?: unknown;
}

/** Type, options and the one line of documentation; options may be left out. */
export type Field = readonly [Type<any>, Options, string] | readonly [Type<any>, string];
export type Fields = Record<string, Field>;

type Sure<F extends Field> = F[1] extends { required: true } | { default: string | number | boolean | object }
  ? true
  : false;
type Of<F extends Field> = F[0] extends Type<infer T> ? T : never;

/** The object that a table describes: required and defaulted keys are always there. */
export type Values<F extends Fields> = {
  [N in keyof F]: Sure<F[N]> extends true ? Of<F[N]> : Of<F[N]> | undefined;
};

/** Gives a table its type. */
export function config<const F extends Fields>(fields: F): F {
  return fields;
}

/** Reads an object by a table. `path` is what stands before the key in messages: "ipam." */
export function readFields<F extends Fields>(fields: F, json: unknown, path = ""): Values<F> {
  const values: Record<string, unknown> = {};
  const given = asObject(json, path);
  for (const name in given) {
    if (given[name] === null || given[name] === undefined) continue;
    const key = Object.hasOwn(fields, name) ? name : sameButCase(fields, name);
    if (key !== undefined) values[key] = readOne(fields[key]!, given[name], path + key);
  }
  for (const key in fields) {
    if (values[key] !== undefined) continue;
    const options = fields[key]![1];
    if (typeof options === "string") values[key] = undefined;
    else if (options.required) throw badConfig(path + key, undefined, "it is required");
    else values[key] = options.default;
  }
  return values as Values<F>;
}

/** Set by readWhatCan: told of what could not be read. */
let passOver: ((error: unknown) => void) | undefined;

function readOne(field: Field, value: unknown, key: string): unknown {
  if (!passOver) return field[0].read(value, key, optionsOf(field));
  try {
    return field[0].read(value, key, optionsOf(field));
  } catch (error) {
    passOver(error);
    return undefined;
  }
}

/**
 * Reads as readFields does, but what has a wrong value counts as absent: for DEL, which must get as far as it can. Each
 * such value is told of.
 */
export function readWhatCan<F extends Fields>(fields: F, json: unknown, tell: (error: unknown) => void): Values<F> {
  passOver = tell;
  try {
    return readFields(fields, json);
  } finally {
    passOver = undefined;
  }
}

/** The key of the table that differs from `name` in case alone. */
function sameButCase(fields: Fields, name: string): string | undefined {
  for (const key in fields) {
    if (key.length === name.length && key.toLowerCase() === name.toLowerCase()) return key;
  }
  return undefined;
}

const none: Options = {};

export function optionsOf(field: Field): Options {
  return typeof field[1] === "string" ? none : field[1];
}

export function docOf(field: Field): string {
  return field.length === 3 ? field[2] : (field[1] as string);
}

/** The JSON Schema of a table. */
export function schemaOf(fields: Fields): Record<string, unknown> {
  const properties: Record<string, unknown> = {};
  const required: string[] = [];
  for (const name in fields) {
    const { min, max, default: fallback, required: must } = optionsOf(fields[name]!);
    if (must) required.push(name);
    const { items, ...schema } = fields[name]![0].schema;
    const bounds = { ...(min === undefined ? {} : { minimum: min }), ...(max === undefined ? {} : { maximum: max }) };
    properties[name] = {
      ...schema,
      ...(items ? { items: { ...items, ...bounds } } : bounds),
      description: docOf(fields[name]!),
      ...(fallback === undefined ? {} : { default: fallback }),
    };
  }
  return { type: "object", properties, ...(required.length ? { required } : {}) };
}

function asObject(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw badConfig(path.slice(0, -1) || "the configuration", value, "must be an object");
  return value as Record<string, unknown>;
}

export const string: Type<string> = {
  schema: { type: "string" },
  read(value, key) {
    if (typeof value !== "string") throw badConfig(key, value, "must be a string");
    if (value.includes("\0")) throw badConfig(key, value, "must not hold a NUL");
    return value;
  },
};

export const bool: Type<boolean> = {
  schema: { type: "boolean" },
  read(value, key) {
    if (typeof value !== "boolean") throw badConfig(key, value, "must be true or false");
    return value;
  },
};

/** A whole number within its bounds. */
export const int: Type<number> = {
  schema: { type: "integer" },
  read(value, key, { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER }) {
    if (typeof value !== "number" || !Number.isSafeInteger(value))
      throw badConfig(key, value, "must be a whole number");
    if (value < min || value > max) {
      throw badConfig(
        key,
        value,
        max === Number.MAX_SAFE_INTEGER ? `must be ${min} or more` : `must be ${min} to ${max}`,
      );
    }
    return value;
  },
};

/** Anything: read later, by a plugin that this one delegates to. */
export const any: Type<unknown> = { schema: {}, read: (value) => value };

/** A list whose items are of one type. */
export function list<T>(item: Type<T>): Type<T[]> {
  return {
    get schema() {
      return { type: "array", items: item.schema };
    },
    read(value, key, bounds) {
      if (!Array.isArray(value)) throw badConfig(key, value, "must be a list");
      return mapped(value, (one, at) => {
        if (one === null) throw badConfig(`${key}[${at}]`, one, "must not be null");
        return item.read(one, `${key}[${at}]`, bounds);
      });
    },
  };
}

/** An object with a table of its own. */
export function object<const F extends Fields>(fields: F): Type<Values<F>> {
  return {
    // Made when asked for: a process that serves a request never does.
    get schema() {
      return schemaOf(fields);
    },
    read: (value, key) => readFields(fields, value, `${key}.`),
  };
}

/** Reads a value when a verb asks for it: DEL must work with what makes no sense. */
export function later<T>(type: Type<T>): Type<() => T> {
  return {
    get schema() {
      return type.schema;
    },
    read: (value, key, bounds) => () => type.read(value, key, bounds),
  };
}

/** An address; an empty text counts as none, as in Go. Its text is made canonical. */
export const ip: Type<string | undefined> = {
  schema: { type: "string", anyOf: [{ format: "ipv4" }, { format: "ipv6" }, { maxLength: 0 }] },
  read(value, key) {
    const text = string.read(value, key, {});
    if (text === "") return undefined;
    const bytes = parseIp(text);
    if (!bytes) throw badConfig(key, value, "must be an IP address");
    return formatIp(bytes);
  },
};

/** An address with the length of its network's prefix, "10.0.0.1/24"; host bits are kept. */
export const cidr: Type<Cidr> = {
  schema: { type: "string", pattern: "^[0-9a-fA-F.:]+/[0-9]+$" },
  read(value, key) {
    const read = parseCidr(string.read(value, key, {}));
    if (!read) throw badConfig(key, value, "must be an address and a prefix length, as 10.0.0.0/24");
    return read;
  },
};

/** The same as canonical text. */
export const cidrText: Type<string> = {
  schema: cidr.schema,
  read: (value, key, bounds) => formatCidr(cidr.read(value, key, bounds)),
};

/** A MAC address; an empty text counts as none. */
export const mac: Type<string | undefined> = {
  schema: { type: "string", pattern: "^([0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5})?$" },
  read(value, key) {
    const text = string.read(value, key, {});
    if (text === "") return undefined;
    const bytes = parseMac(text.replaceAll("-", ":"));
    if (!bytes) throw badConfig(key, value, "must be six bytes in hexadecimal, as 02:00:00:00:00:01");
    if (bytes[0]! & 1) throw badConfig(key, value, "must not be a group address");
    if (bytes.every((byte) => byte === 0)) throw badConfig(key, value, "must not be all zero");
    return text.replaceAll("-", ":").toLowerCase();
  },
};

/** The name of a link. */
export const linkName: Type<string> = {
  schema: { type: "string", pattern: "^[^/:\\s]{1,15}$" },
  read(value, key) {
    const text = string.read(value, key, {});
    if (wrongInLinkName(text) !== undefined) {
      throw badConfig(key, value, "must be a link's name: 1 to 15 bytes without slash, colon or white space");
    }
    return text;
  },
};

/** What is wrong with a link's name, if anything: as dev_valid_name() of the kernel judges. */
export function wrongInLinkName(text: string): string | undefined {
  if (text === "") return "it must not be empty";
  if (text === "." || text === "..") return "it must not be . or ..";
  if (text.length > 15) return "it must have at most 15 bytes";
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const strange = "it must not hold a slash, a colon or white space";
    if (code <= 32 || code === 47 || code === 58) return strange;
    if (code < 127) continue;
    // Beyond ASCII by what costs more.
    if (new TextEncoder().encode(text).length > 15) return "it must have at most 15 bytes";
    return /[/:\s\0]/u.test(text) ? strange : undefined;
  }
  return undefined;
}

/** One of some words. */
export function oneOf<const W extends string>(...words: W[]): Type<W> {
  return {
    schema: { enum: words },
    read(value, key) {
      if (!words.includes(value as W))
        throw badConfig(key, value, `must be one of ${words.join(", ")}`, codes.unsupportedField);
      return value as W;
    },
  };
}

function truth(text: string, value: string): boolean {
  const lower = value.toLowerCase();
  if (lower === "1" || lower === "true") return true;
  if (lower === "0" || lower === "false") return false;
  throw badConfig("CNI_ARGS", text, "IgnoreUnknown must be 1, 0, true or false", codes.badEnvironment);
}

/** What CNI_ARGS may hold: keys in their exact case; unknown ones are refused unless IgnoreUnknown is set. */
export function parseArgs<const K extends string>(text: string, known: readonly K[]): { [N in K]?: string } {
  const values: { [N in K]?: string } = {};
  const unknown: string[] = [];
  let ignoreUnknown = false;
  for (const pair of text.split(";")) {
    if (pair === "") continue;
    const [key, value, ...more] = pair.split("=");
    if (value === undefined || more.length > 0) {
      throw badConfig("CNI_ARGS", text, `"${pair}" is not of the form KEY=VALUE`, codes.badEnvironment);
    }
    if (key === "IgnoreUnknown") ignoreUnknown = truth(text, value);
    else if ((known as readonly string[]).includes(key!)) values[key as K] = value;
    else unknown.push(pair);
  }
  if (unknown.length > 0 && !ignoreUnknown) {
    throw badConfig("CNI_ARGS", text, `unknown keys in ${unknown.join(", ")}`, codes.badEnvironment);
  }
  return values;
}
