import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { any, config } from "../../../lib/cni/config.ts";
import { CniError, toCniError } from "../../../lib/cni/errors.ts";
import { makeRequest, type Plugin, type Request, type Verb } from "../../../lib/cni/request.ts";
import { type Result, versions, writeResult } from "../../../lib/cni/result.ts";
import {
  addAll,
  checkAll,
  deleteAll,
  missingCapabilities,
  partsOf,
  runEach,
  steps,
} from "../../../lib/cni/sequence.ts";
import { serve } from "../../../lib/cni/serve.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenon-sequence-"));
  for (const name of ["one", "two", "three", "modern"]) symlinkSync(process.execPath, join(folder, name));
});
afterAll(() => rmSync(folder, { recursive: true }));

const conf = config({ note: [any, ""] });
type Seen = Request<any> & { type: string };

/** Plugins that note what they are asked; `add` by type, and which verb of which type fails. */
function suiteOf(add: (request: Seen) => Result, fails: (verb: Verb, type: string) => boolean = () => false) {
  const seen: Seen[] = [];
  const plugin = (type: string, spoken?: string[]): Plugin => {
    const note = (request: Request<any>) => {
      seen.push({ ...request, type });
      if (fails(request.verb, type)) throw new CniError(42, `${type} will not`, { details: "by the test" });
    };
    return {
      ...{ conf, versions: spoken, del: note, check: note, gc: note, status: note },
      add: (request) => {
        note(request);
        return add({ ...request, type });
      },
    };
  };
  const suite = {
    ...{ one: plugin("one"), two: plugin("two"), three: plugin("three"), modern: plugin("modern", ["1.1.0"]) },
  };
  return { suite, seen, log: () => seen.map(({ verb, type }) => `${verb} ${type}`) };
}

const outer: Plugin = { conf, add: () => ({}), del: () => {} };

function requestOf(verb: Verb, json: Record<string, unknown>, suite: any, cniVersion = "1.1.0"): Request<any> {
  const environment = {
    ...{ CNI_COMMAND: verb, CNI_CONTAINERID: "c", CNI_NETNS: "/n", CNI_IFNAME: "eth0", CNI_PATH: folder },
    CNI_ARGS: "K=V",
  };
  const whole = { name: "net", type: "chain", cniVersion, ...json };
  return makeRequest(outer, verb, environment, whole, new TextEncoder().encode(JSON.stringify(whole)), suite);
}

const list = (...plugins: object[]) => steps("chain").read(plugins, "plugins", {});
const three = list({ type: "one", note: 1 }, { type: "two" }, { type: "three" });

function refusal(body: () => unknown): CniError {
  try {
    body();
  } catch (error) {
    return toCniError(error);
  }
  throw new Error("Cannot refuse: nothing was thrown");
}

describe("a list", () => {
  test.each([
    [undefined, "plugins undefined: must be a list"],
    [{}, "plugins {}: must be a list"],
    [[], "plugins []: must hold one plugin at least"],
    [[{ type: "a" }, null], "plugins[1] null: must be an object"],
    [[{ type: "a" }, {}], "plugins[1].type undefined: it is required"],
    [[{ type: "" }], 'plugins[0].type "": must be the name of a plugin'],
    [[{ type: 7 }], "plugins[0].type 7: must be the name of a plugin"],
    [[{ type: "a" }, { Type: "chain" }], 'plugins[1].type "chain": a chain cannot be part of another'],
    [[{ type: "a", capabilities: [] }], "plugins[0].capabilities []: must be an object"],
  ])("%j is refused", (given, message) => {
    expect(refusal(() => steps("chain").read(given, "plugins", {}))).toMatchObject({
      code: 7,
      message: `Cannot use ${message}`,
    });
  });

  test("says what its runtime has to be told to pass", () => {
    const some = list({ type: "a", capabilities: { mac: true, ips: false } }, { type: "b", capabilities: { x: true } });
    const missing = (declared: unknown) => missingCapabilities(some, declared).map((one) => one.capability);
    expect(missing({ mac: true, x: true })).toEqual([]);
    expect(missing({ mac: true, x: false })).toEqual(["x"]);
    expect(missing(undefined)).toEqual(["mac", "x"]);
  });
});

const ip4 = fc.ipV4().map((ip) => `${ip}/24`);
const ip6 = fc.ipV6().map((ip) => `${ip}/64`);
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const count = fc.oneof(fc.constant(0), fc.nat(65535));
const result: fc.Arbitrary<Result> = fc
  .record({
    interfaces: fc.array(
      fc.record({
        ...{ name: fc.constantFrom("eth0", "cni0", "v"), mac: maybe(fc.constantFrom("", "02:00:00:00:00:01")) },
        ...{ mtu: maybe(count), sandbox: maybe(fc.constantFrom("", "/n")) },
      }),
      { maxLength: 3 },
    ),
    ips: fc.array(
      fc.record({ address: fc.oneof(ip4, ip6), gateway: maybe(fc.oneof(fc.ipV4(), fc.ipV6())), at: maybe(fc.nat(9)) }),
      { maxLength: 4 },
    ),
    routes: maybe(
      fc.array(
        fc.record({
          ...{ dst: fc.oneof(ip4, ip6), gw: maybe(fc.ipV4()), mtu: maybe(count), priority: maybe(count) },
          ...{ table: maybe(count), scope: maybe(fc.nat(255)) },
        }),
        { maxLength: 3 },
      ),
    ),
    dns: maybe(
      fc.record({ nameservers: fc.array(fc.ipV4(), { maxLength: 2 }), domain: maybe(fc.constantFrom("", "d")) }),
    ),
  })
  .map(({ ips, interfaces, ...rest }) => ({
    ...rest,
    interfaces,
    ips: ips.map(({ at, ...ip }) => ({
      ...ip,
      interface: at === undefined || interfaces.length === 0 ? undefined : at % interfaces.length,
    })),
  }));

/** What a plugin may make of the result before it. */
const change = fc.oneof(
  fc.constant((before: Result) => before),
  fc.constant((before: Result) => ({
    ...before,
    interfaces: [...(before.interfaces ?? []), { name: "more", mtu: 9 }],
  })),
  result.map((own) => (before: Result) => ({ ...before, ...own })),
  result.map((own) => () => own),
);

test("each plugin sees, and the last one prints, what they do as processes with text between them", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...versions),
      maybe(result),
      fc.tuple(change, change, change),
      (version, given, changes) => {
        const { suite, seen } = suiteOf(({ type, prevResult }) =>
          changes[["one", "two", "three"].indexOf(type)]!(prevResult ?? {}),
        );
        /** Runs what may end with a version that cannot say something. */
        const attempt = (body: () => string) => {
          try {
            return body();
          } catch (error) {
            return `${error}`;
          }
        };
        const prevResult = given && attempt(() => writeResult(given, version));
        const json = prevResult?.startsWith("{") ? { prevResult: JSON.parse(prevResult) } : {};
        const apart = attempt(() => {
          let before: Record<string, unknown> = json;
          for (const type of ["one", "two", "three"] as const) {
            const said = writeResult(serve(suite[type], requestOf("ADD", before, suite, version))!, version);
            before = { prevResult: JSON.parse(said) };
          }
          return JSON.stringify(before.prevResult, null, 4);
        });
        const seenApart = seen.splice(0).map((one) => one.prevResult);
        const together = attempt(() => writeResult(addAll(requestOf("ADD", json, suite, version), three), version));
        expect(together).toBe(apart);
        expect(seen.filter(({ verb }) => verb === "ADD").map((one) => one.prevResult)).toEqual(seenApart);
      },
    ),
    { numRuns: 300 },
  );
});

describe("the configuration of each", () => {
  const made: Result = { interfaces: [{ name: "eth0", sandbox: "/n" }] };

  test("is its own, with name, version, the result before it, and of what the runtime passes what it declares", () => {
    const { suite, seen } = suiteOf(() => made);
    const runtimeConfig = { mac: "x", ports: [1], ips: ["y"] };
    addAll(
      requestOf("ADD", { runtimeConfig, args: { cni: { a: 1 } }, plugins: "whole", name: "outer" }, suite),
      list(
        { type: "one", name: "odd", cniVersion: "0.1.0", note: 7, capabilities: { ports: true, mac: false } },
        { type: "two", capabilities: { mac: true, other: true }, args: { own: 1 }, runtimeConfig: { lost: 1 } },
        { type: "three", runtimeConfig: { kept: 1 } },
      ),
    );
    const prevResult = { cniVersion: "1.1.0", interfaces: [{ name: "eth0", sandbox: "/n" }] };
    const common = { name: "outer", cniVersion: "1.1.0" };
    expect(JSON.parse(JSON.stringify(seen.map(({ json }) => json)))).toEqual([
      {
        ...{ ...common, type: "one", note: 7, capabilities: { ports: true, mac: false } },
        ...{ args: { cni: { a: 1 } }, runtimeConfig: { ports: [1] } },
      },
      {
        ...{ ...common, type: "two", prevResult, capabilities: { mac: true, other: true } },
        ...{ args: { own: 1 }, runtimeConfig: { mac: "x" } },
      },
      { ...common, type: "three", prevResult, args: { cni: { a: 1 } }, runtimeConfig: { kept: 1 } },
    ]);
    for (const { json, stdin, conf, network, args } of seen) {
      expect(JSON.parse(new TextDecoder().decode(stdin))).toEqual(JSON.parse(JSON.stringify(json)));
      expect({ note: conf.note, network, args }).toEqual({ note: json.note, network: "outer", args: "K=V" });
    }
  });

  test("holds for DEL and CHECK the last result, for GC who lives", () => {
    const { suite, seen, log } = suiteOf(() => made);
    const prevResult = { interfaces: [{ name: "last" }] };
    deleteAll(requestOf("DEL", { prevResult }, suite), three);
    checkAll(requestOf("CHECK", { prevResult }, suite), three);
    expect(log()).toEqual([
      ...["three", "two", "one"].map((type) => `DEL ${type}`),
      ...["CHECK one", "CHECK two", "CHECK three"],
    ]);
    for (const one of seen) expect(one.prevResult).toMatchObject(prevResult);
    seen.length = 0;
    const alive = [{ containerID: "c", ifname: "eth0" }];
    runEach(requestOf("GC", { "cni.dev/valid-attachments": alive }, suite), three);
    expect(log()).toEqual(["GC one", "GC two", "GC three"]);
    for (const { validAttachments } of seen) expect(validAttachments).toEqual([{ containerId: "c", ifname: "eth0" }]);
    expect(refusal(() => runEach(requestOf("GC", {}, suite), three)).code).toBe(7);
  });

  test("of DEL goes on without a result where that is garbled", () => {
    const { suite, seen } = suiteOf(() => made);
    deleteAll(requestOf("DEL", { prevResult: { ips: 7 } }, suite), three);
    expect(seen.map((one) => one.prevResult)).toEqual([undefined, undefined, undefined]);
  });
});

describe("a failure", () => {
  const numbered = ({ prevResult, type }: Seen): Result => ({
    interfaces: [...(prevResult?.interfaces ?? []), { name: type }],
  });

  test("of ADD undoes those before it, the last one first, each with its own result; the message is the plugin's", () => {
    const { suite, seen, log } = suiteOf(numbered, (verb, type) => verb === "ADD" && type === "three");
    const error = refusal(() => addAll(requestOf("ADD", {}, suite), three));
    expect(error).toMatchObject({ code: 42, message: "three will not", details: "in plugins[2], three: by the test" });
    expect(log()).toEqual(["ADD one", "ADD two", "ADD three", "DEL two", "DEL one"]);
    expect(seen.slice(3).map(({ prevResult }) => prevResult!.interfaces!.map(({ name }) => name))).toEqual([
      ["one", "two"],
      ["one"],
    ]);
  });

  test("of undoing is told in the details and keeps no other from being undone", () => {
    const { suite, log } = suiteOf(numbered, (verb, type) => type === (verb === "ADD" ? "three" : "two"));
    const error = refusal(() => addAll(requestOf("ADD", {}, suite), three));
    expect(error.message).toBe("three will not");
    expect(error.details).toContain("undoing failed too: two will not");
    expect(log().slice(3)).toEqual(["DEL two", "DEL one"]);
  });

  test("of the version to say what came out undoes the last one too", () => {
    const { suite, log } = suiteOf(() => ({ interfaces: [] }));
    const error = refusal(() => addAll(requestOf("ADD", {}, suite, "0.2.0"), list({ type: "one" })));
    expect(error.message).toContain("it has no result without addresses");
    expect(log()).toEqual(["ADD one", "DEL one"]);
  });

  test("of DEL, GC or STATUS keeps no other from its work, and several are all told", () => {
    for (const [verb, run] of [
      ["DEL", deleteAll],
      ["STATUS", runEach],
    ] as const) {
      const { suite, log } = suiteOf(numbered, (_, type) => type !== "two");
      const error = refusal(() => run(requestOf(verb, {}, suite), three));
      expect(log()).toHaveLength(3);
      expect(error.code).toBe(42);
      expect(error.details).toContain("one will not (in plugins[0], one: by the test)");
      expect(error.details).toContain("three will not (in plugins[2], three: by the test)");
    }
  });

  test("of CHECK is the first one's", () => {
    const { suite, log } = suiteOf(numbered, (_, type) => type !== "one");
    const error = refusal(() => checkAll(requestOf("CHECK", { prevResult: {} }, suite), three));
    expect(error).toMatchObject({ message: "two will not", details: "in plugins[1], two: by the test" });
    expect(log()).toEqual(["CHECK one", "CHECK two"]);
  });

  test("that can be foreseen comes before anything is done: no such plugin, a version that it does not speak", () => {
    const { suite, log } = suiteOf(numbered);
    const missing = list({ type: "one" }, { type: "nobody" });
    expect(refusal(() => addAll(requestOf("ADD", {}, suite), missing)).message).toStartWith(
      'Cannot use plugins[1].type "nobody": no such plugin in CNI_PATH',
    );
    const error = refusal(() =>
      addAll(requestOf("ADD", {}, suite, "1.0.0"), list({ type: "one" }, { type: "modern" })),
    );
    expect(error).toMatchObject({ code: 1, details: "in plugins[1], modern: supported: 1.1.0" });
    expect(log()).toEqual([]);
    expect(refusal(() => deleteAll(requestOf("DEL", {}, suite), missing)).message).toContain("nobody");
    expect(log()).toEqual(["DEL one"]);
  });
});

test("what an attachment has on the host is what its plugins say, each with its own configuration", () => {
  const { suite } = suiteOf(() => ({}));
  const parts = (request: Request<any>) => [
    { kind: "note", name: JSON.stringify(request.conf.note ?? request.prevResult!.ips), check() {}, ensure() {} },
  ];
  const own = { one: { ...suite.one, parts }, two: suite.two, three: { ...suite.three, parts } };
  const prevResult = { ips: [{ address: "10.0.0.2/24" }] };
  const found = partsOf(requestOf("CHECK", { prevResult }, own), [...three, ...list({ type: "nobody" })]);
  expect(found.map(({ name }) => name)).toEqual(["1", '[{"address":"10.0.0.2/24"}]']);
});

test("a plugin of another suite is executed, with the same configuration, and its result handed on", () => {
  const foreign = join(folder, "foreign");
  writeFileSync(
    foreign,
    `#!/bin/sh\ncat > ${folder}/$CNI_COMMAND.json\necho '{"ips": [{"address": "10.0.0.2/24"}]}'\n`,
  );
  chmodSync(foreign, 0o755);
  const { suite, seen } = suiteOf(({ prevResult }) => prevResult ?? { interfaces: [{ name: "eth0" }] });
  const mixed = list({ type: "one" }, { type: "foreign", note: 1, capabilities: { mac: true } }, { type: "two" });
  const made = addAll(requestOf("ADD", { runtimeConfig: { mac: "x", ips: [] } }, suite), mixed);
  expect(made.ips).toMatchObject([{ address: "10.0.0.2/24" }]);
  expect(seen[1]!.prevResult!.ips).toMatchObject([{ address: "10.0.0.2/24" }]);
  expect(JSON.parse(readFileSync(join(folder, "ADD.json"), "utf8"))).toEqual({
    ...{ type: "foreign", note: 1, name: "net", cniVersion: "1.1.0", capabilities: { mac: true } },
    ...{ runtimeConfig: { mac: "x" }, prevResult: { cniVersion: "1.1.0", interfaces: [{ name: "eth0" }] } },
  });
  deleteAll(requestOf("DEL", { prevResult: made }, suite), mixed);
  expect(JSON.parse(readFileSync(join(folder, "DEL.json"), "utf8")).prevResult.ips).toHaveLength(1);
});
