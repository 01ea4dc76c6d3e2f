import { expect, test } from "bun:test";
import { suite } from "../../../build/plugins.ts";
import { lint } from "../../../cli/lint/lint.ts";
import { brief, list } from "../../helpers/lint.ts";

const of = (more: object, speaks?: string) =>
  brief(lint([list([{ type: "loopback" }], more)], suite, speaks), "version");

test("too old for CHECK, for GC and STATUS; too new for known runtimes", () => {
  expect(of({ cniVersion: "0.3.1" })).toEqual(["warning version cniVersion", "note version cniVersion"]);
  expect(of({ cniVersion: "1.0.0" })).toEqual(["note version cniVersion"]);
  expect(of({ cniVersion: "1.1.0" })).toEqual(["note version cniVersion"]);
  expect(of({ cniVersion: "1.0.0", cniVersions: ["1.0.0", "1.1.0"] })).toEqual([]);
  expect(of({ cniVersion: undefined })).toEqual(["warning version cniVersion"]);
  expect(of({ cniVersion: "9.9.9" })).toEqual(["error version cniVersion"]);
  expect(of({ cniVersions: ["1.0.0", "2.0.0"] })).toContain("error version cniVersions");
});

test("what is known of the runtime decides", () => {
  expect(of({ cniVersion: "1.1.0" }, "1.0.0")).toEqual(["error version cniVersion"]);
  expect(of({ cniVersion: "1.0.0" }, "1.1.0")).toEqual(["warning version cniVersion"]);
  expect(of({ cniVersion: "1.1.0" }, "1.1.0")).toEqual([]);
});
