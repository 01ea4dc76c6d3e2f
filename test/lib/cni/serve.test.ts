import { expect, test } from "bun:test";
import { config } from "../../../lib/cni/config.ts";
import { codes } from "../../../lib/cni/errors.ts";
import { makeRequest, type Plugin, type Verb } from "../../../lib/cni/request.ts";
import { serve } from "../../../lib/cni/serve.ts";

const calls: string[] = [];
const full: Plugin = {
  conf: config({}),
  add: () => ({ ips: [{ address: `10.0.0.${calls.push("add")}/24` }] }),
  del: () => void calls.push("del"),
  check: () => void calls.push("check"),
  gc: () => void calls.push("gc"),
  status: () => void calls.push("status"),
};

function run(verb: Verb, plugin: Plugin = full, cniVersion = "1.1.0", more = {}) {
  calls.length = 0;
  const json = { name: "net", cniVersion, ...more };
  return serve(plugin, makeRequest(plugin, verb, {}, json, new Uint8Array(0), {}));
}

const alive = { "cni.dev/valid-attachments": [] };

test.each<[Verb, string]>([
  ["ADD", "add"],
  ["DEL", "del"],
  ["CHECK", "check"],
  ["STATUS", "status"],
  ["GC", "gc"],
])("%s calls %s and nothing else; ADD alone has a result", (verb, method) => {
  const result = run(verb, full, "1.1.0", alive);
  expect(calls).toEqual([method]);
  expect(result).toEqual(verb === "ADD" ? { ips: [{ address: "10.0.0.1/24" }] } : undefined);
});

test("verbs that a plugin lacks succeed and do nothing", () => {
  const plain: Plugin = { conf: full.conf, add: full.add, del: full.del };
  for (const verb of ["CHECK", "STATUS", "GC"] as const) expect(run(verb, plain, "1.1.0", alive)).toBeUndefined();
  expect(calls).toEqual([]);
});

test("GC without the list of the living removes nothing; with an empty one, or null for it, it runs", () => {
  expect(() => run("GC")).toThrow("Cannot use cni.dev/valid-attachments undefined: GC needs the list of attachments");
  expect(calls).toEqual([]);
  for (const none of [alive, { "cni.dev/valid-attachments": null }]) {
    run("GC", full, "1.1.0", none);
    expect(calls).toEqual(["gc"]);
  }
});

test("a verb that the version lacks, or a version that the plugin lacks, is refused before anything is done", () => {
  const young: Plugin = { ...full, versions: ["0.4.0", "1.0.0", "1.1.0"] };
  for (const body of [
    () => run("CHECK", full, "0.3.1"),
    () => run("STATUS", full, "1.0.0"),
    () => run("GC", full, "1.0.0", alive),
    () => run("ADD", young, "0.3.1"),
    () => run("DEL", full, "2.0.0"),
  ]) {
    expect(body).toThrow(expect.objectContaining({ code: codes.incompatibleVersion }));
    expect(calls).toEqual([]);
  }
});

test("VERSION is main's, not a plugin's", () => {
  expect(() => run("VERSION")).toThrow("Cannot serve VERSION");
});

test("what a plugin throws goes on", () => {
  const broken: Plugin = {
    ...full,
    del: () => {
      throw new RangeError("in the middle");
    },
  };
  expect(() => run("DEL", broken)).toThrow(new RangeError("in the middle"));
});
