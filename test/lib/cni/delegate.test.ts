import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { config, object, string } from "../../../lib/cni/config.ts";
import { delegate } from "../../../lib/cni/delegate.ts";
import { CniError, codes } from "../../../lib/cni/errors.ts";
import { makeRequest, type Plugin, readConfiguration, type Suite, type Verb } from "../../../lib/cni/request.ts";

let base: string;
let folder: string;
let count = 0;

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "tenon-delegate-"));
});

beforeEach(() => {
  folder = join(base, `${count++}`);
  mkdirSync(folder);
});

afterAll(() => rmSync(base, { recursive: true }));

const at = (...names: string[]) => join(folder, ...names);

/** A foreign plugin: notes what it is given, then does what `body` says. */
function script(path: string, body: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const note = `cat /proc/$$/environ > ${folder}/$CNI_COMMAND.environ; cat > ${folder}/$CNI_COMMAND.stdin`;
  writeFileSync(path, `#!/bin/sh\n${note}\n${body}\n`);
  chmodSync(path, 0o755);
}

const conf = config({ ipam: [object({ type: [string, { required: true }, ""] }), ""] });
const outer: Plugin<typeof conf> = { conf, add: () => ({}), del: () => {} };

/** Delegates as a plugin would, with `folder` on CNI_PATH. */
function run(
  verb: Verb,
  type = "foreign",
  { suite = {} as Suite, path = folder, version = "1.1.0", more = null as unknown } = {},
) {
  const environment = {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "c",
    CNI_NETNS: "/n",
    CNI_IFNAME: "e",
    CNI_PATH: path,
    X: "ä=1",
  };
  const stdin = new TextEncoder().encode(
    `{ "name": "net", "cniVersion": "${version}", "more": ${JSON.stringify(more)} }`,
  );
  const request = makeRequest(outer, "ADD", environment, readConfiguration(stdin), stdin, suite);
  return delegate(request, type, verb);
}

function refusal(body: () => unknown): CniError {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(CniError);
    return error as CniError;
  }
  throw new Error("Cannot refuse: nothing was thrown");
}

const ran = (verb: string) => {
  try {
    return readFileSync(at(`${verb}.stdin`), "utf8");
  } catch {
    return undefined; // it was not called
  }
};

describe("a foreign plugin", () => {
  const address = '{"ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}]}';

  test("gets stdin as it was given, and the environment with another verb", () => {
    script(at("foreign"), `echo '${address}'`);
    expect(run("ADD", "foreign", { more: { x: [1] } })).toMatchObject({
      ips: [{ address: "10.0.0.2/24", gateway: "10.0.0.1" }],
    });
    expect(ran("ADD")).toBe('{ "name": "net", "cniVersion": "1.1.0", "more": {"x":[1]} }');
    expect(run("CHECK")).toEqual({});
    const environment = readFileSync(at("CHECK.environ"), "utf8").split("\0").filter(Boolean).sort();
    expect(environment).toEqual(
      ["CNI_COMMAND=CHECK", "CNI_CONTAINERID=c", "CNI_IFNAME=e", "CNI_NETNS=/n", `CNI_PATH=${folder}`, "X=ä=1"].sort(),
    );
  });

  test("answers in any version", () => {
    const old = '{"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.2/24", "routes": [{"dst": "0.0.0.0/0"}]}}';
    script(at("foreign"), `echo '${old}'`);
    expect(run("ADD")).toMatchObject({ ips: [{ address: "10.0.0.2/24" }], routes: [{ dst: "0.0.0.0/0" }] });
    script(at("foreign"), `echo '{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.0.0.2/24"}]}'`);
    expect(run("ADD")).toMatchObject({ ips: [{ address: "10.0.0.2/24" }] });
    script(at("foreign"), `echo '{"ip4": {"ip": "10.0.0.2/24"}}'`);
    expect(run("ADD", "foreign", { version: "0.2.0" })).toMatchObject({ ips: [{ address: "10.0.0.2/24" }] });
    script(at("foreign"), "echo null");
    expect(run("ADD")).toEqual({});
  });

  test("may print what it likes unless it is asked for a result", () => {
    script(at("foreign"), "echo nonsense");
    for (const verb of ["DEL", "CHECK", "GC", "STATUS"] as const) expect(run(verb)).toEqual({});
  });

  test("that fails passes its error on, code, text and details", () => {
    script(at("foreign"), `echo '{"cniVersion": "1.1.0", "code": 11, "msg": "Not now", "details": "later"}'; exit 1`);
    for (const verb of ["ADD", "DEL", "CHECK", "GC", "STATUS"] as const) {
      expect(refusal(() => run(verb))).toMatchObject({ code: 11, message: "Not now", details: "later" });
    }
    script(at("foreign"), `echo '{"code": "x", "msg": "Not now", "details": {}}'; exit 1`);
    expect(refusal(() => run("DEL"))).toMatchObject({ code: 999, message: "Not now", details: undefined });
  });

  test.each([
    ["exit 3", "it ended with status 3", undefined],
    ["echo panic; exit 2", "it ended with status 2", "panic\n"],
    ["echo '{\"code\": 7}'; exit 1", "it ended with status 1", '{"code": 7}\n'],
    ["kill -9 $$", "a signal ended it", undefined],
  ])("that ends by %s is told so", (body, how, details) => {
    script(at("foreign"), body);
    const message = `Cannot run DEL of plugin "foreign": ${how}`;
    expect(refusal(() => run("DEL"))).toMatchObject({ code: codes.internal, message, details });
  });

  test.each([
    ["", undefined],
    ["echo '{'", "{\n"],
    ["printf '{}{}'", "{}{}"],
  ])("whose ADD prints %j has no result that can be read", (body, details) => {
    script(at("foreign"), body);
    const message = 'Cannot read the result of plugin "foreign": no JSON';
    expect(refusal(() => run("ADD"))).toMatchObject({ code: codes.decodingFailure, message, details });
  });

  test("whose result is wrong is told by the key that is", () => {
    script(at("foreign"), `echo '{"ips": [{"address": "10.0.0.2"}]}'`);
    expect(refusal(() => run("ADD")).message).toStartWith(
      'Cannot use result of foreign.ips[0].address "10.0.0.2": must',
    );
    script(at("foreign"), `echo '{"cniVersion": "9.9.9"}'`);
    expect(refusal(() => run("ADD")).message).toStartWith('Cannot use result of foreign.cniVersion "9.9.9": must be');
    script(at("foreign"), "echo 5");
    expect(refusal(() => run("ADD")).message).toBe("Cannot use result of foreign 5: must be an object");
  });

  test.each(["exit 1", "echo '{'", `echo '{"ips": 5}'`, "kill -9 $$"])(
    "whose ADD fails by %s is asked to DEL",
    (body) => {
      script(at("foreign"), `[ $CNI_COMMAND = DEL ] && exit 1\n${body}`);
      const first = refusal(() => run("ADD"));
      expect(first.message).not.toContain("DEL");
      expect(ran("DEL")).toBe(ran("ADD")!);
    },
  );

  test("is asked to DEL for nothing else", () => {
    script(at("foreign"), `[ $CNI_COMMAND = ADD ] && echo '${address}' || exit 1`);
    run("ADD");
    refusal(() => run("CHECK"));
    expect(ran("DEL")).toBeUndefined();
  });

  test("gets large input and gives large output", () => {
    script(at("foreign"), `cat ${folder}/ADD.stdin; exit 1`);
    const message = 'Cannot run ADD of plugin "foreign": it ended with status 1';
    expect(refusal(() => run("ADD", "foreign", { more: "x".repeat(300_000) }))).toMatchObject({ message });
    expect(ran("ADD")!.length).toBeGreaterThan(300_000);
  });

  test("need not read its input", () => {
    writeFileSync(at("deaf"), "#!/bin/sh\nexit 0\n");
    chmodSync(at("deaf"), 0o755);
    expect(run("DEL", "deaf", { more: "x".repeat(300_000) })).toEqual({});
  });

  test("that cannot be executed is told so", () => {
    writeFileSync(at("foreign"), "#!/bin/sh\n", { mode: 0o644 });
    expect(refusal(() => run("ADD")).message).toStartWith('Cannot run ADD of plugin "foreign": ');
    writeFileSync(at("other"), "#!/no/such/interpreter\n", { mode: 0o755 });
    expect(refusal(() => run("ADD", "other")).message).toStartWith('Cannot run ADD of plugin "other": ');
  });
});

describe("the search on CNI_PATH", () => {
  test("takes the first regular file, and passes over everything else", () => {
    mkdirSync(at("directory", "foreign"), { recursive: true });
    mkdirSync(at("loop"));
    symlinkSync("foreign", at("loop", "foreign"));
    mkdirSync(at("dangling"));
    symlinkSync("none", at("dangling", "foreign"));
    writeFileSync(at("file"), "");
    script(at("first", "foreign"), "exit 0");
    script(at("second", "foreign"), "exit 1");
    const long = "x".repeat(300);
    const path = ["none", "directory", "loop", "dangling", "file", long, "", "first", "second"].map(
      (name) => name && at(name),
    );
    expect(run("DEL", "foreign", { path: path.join(":") })).toEqual({});
  });

  test("follows symbolic links", () => {
    script(at("real", "plugin-1.0"), "exit 0");
    symlinkSync("real/plugin-1.0", at("foreign"));
    expect(run("DEL")).toEqual({});
  });

  test("that finds nothing names the type and the path", () => {
    const path = `${folder}:/none`;
    expect(refusal(() => run("ADD", "absent", { path }))).toMatchObject({
      code: codes.invalidConfig,
      message: `Cannot use ipam.type "absent": no such plugin in CNI_PATH ${path}`,
    });
  });

  test.each(["", "a/b", "../foreign", "/bin/sh", "a\0b"])("does not take %j for a type", (type) => {
    expect(refusal(() => run("ADD", type))).toMatchObject({ code: codes.invalidConfig });
    expect(refusal(() => run("ADD", type)).message).toEndWith(": must be the name of a plugin");
  });
});

describe("a plugin of this suite", () => {
  const seen: unknown[] = [];
  const own: Plugin = {
    conf: config({ more: [string, ""] }),
    versions: ["1.0.0", "1.1.0"],
    add: ({ verb, containerId, conf, network }) => {
      seen.push([verb, containerId, conf, network]);
      return { ips: [{ address: "10.9.9.9/24" }] };
    },
    del: ({ verb }) => void seen.push(verb),
    check: () => {
      throw new CniError(codes.checkFailed, "Cannot find it");
    },
  };
  const suite: Suite = { own, again: { ...own, del: (request) => void delegate(request, "again", "DEL") } };

  beforeEach(() => {
    seen.length = 0;
    symlinkSync(process.execPath, at("own")); // the executable of this process, as links in an installation are
    symlinkSync(process.execPath, at("again"));
  });

  test("runs in this process where the path leads to this very executable", () => {
    expect(run("ADD", "own", { suite, more: "x" })).toEqual({ ips: [{ address: "10.9.9.9/24" }] });
    expect(run("DEL", "own", { suite })).toEqual({});
    expect(seen).toEqual([["ADD", "c", { more: "x" }, "net"], "DEL"]);
    expect(refusal(() => run("CHECK", "own", { suite })).message).toBe("Cannot find it");
  });

  test("runs in this process over a hard link too", () => {
    // Beside the executable, as hard links do not leave a file system.
    const beside = mkdtempSync(join(dirname(process.execPath), "tenon-delegate-"));
    try {
      linkSync(process.execPath, join(beside, "own"));
      run("DEL", "own", { suite, path: beside });
      expect(seen).toEqual(["DEL"]);
    } finally {
      rmSync(beside, { recursive: true });
    }
  });

  test("is held to its own versions and configuration", () => {
    expect(refusal(() => run("ADD", "own", { suite, version: "0.4.0" })).code).toBe(codes.incompatibleVersion);
    expect(refusal(() => run("ADD", "own", { suite, more: 5 })).message).toBe("Cannot use more 5: must be a string");
    expect(seen).toEqual([]);
  });

  test("is executed where the path leads to something else of its name", () => {
    script(at("wrapped", "own"), `echo '{"ips": [{"address": "10.0.0.2/24"}]}'`);
    const result = run("ADD", "own", { suite, path: `${at("wrapped")}:${folder}` });
    expect(result).toMatchObject({ ips: [{ address: "10.0.0.2/24" }] });
    expect(seen).toEqual([]);
  });

  test("is not searched for among what every object has", () => {
    symlinkSync(process.execPath, at("toString"));
    expect(run("DEL", "toString", { suite })).toEqual({}); // executed: the runtime tells how it is used
  });

  test("that delegates to itself is stopped", () => {
    const message = 'Cannot use ipam.type "again": it would delegate to itself without end';
    expect(refusal(() => run("DEL", "again", { suite }))).toMatchObject({ code: codes.invalidConfig, message });
    expect(refusal(() => run("DEL", "again", { suite })).message).toBe(message); // and the next request is served again
  });
});
