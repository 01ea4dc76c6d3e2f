import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { config, int, string } from "../../../lib/cni/config.ts";
import { CniError, codes } from "../../../lib/cni/errors.ts";
import {
  anyCase,
  assertVersion,
  type Environment,
  makeRequest,
  type Plugin,
  readConfiguration,
  readVerb,
  type Verb,
} from "../../../lib/cni/request.ts";
import { versions } from "../../../lib/cni/result.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function refusal(body: () => unknown): CniError {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(CniError);
    return error as CniError;
  }
  throw new Error("Cannot refuse: nothing was thrown");
}

const full: Environment = {
  ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: "cid-1", CNI_NETNS: "/run/netns/a", CNI_IFNAME: "eth0", CNI_PATH: "/opt" },
};

describe("the verb", () => {
  test.each(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] as Verb[])("%s is read", (verb) => {
    expect(readVerb({ ...full, CNI_COMMAND: verb })).toBe(verb);
  });

  test.each(["add", "", "ADD ", "toString", "__proto__", undefined])("%j is none", (verb) => {
    const error = refusal(() => readVerb({ ...full, CNI_COMMAND: verb }));
    expect(error.code).toBe(codes.badEnvironment);
    expect(error.message).toMatch(/^Cannot use CNI_COMMAND .*: must be one of ADD, CHECK, DEL, GC, STATUS, VERSION$/);
  });

  test.each<[Verb, string]>([
    ["ADD", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"],
    ["CHECK", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"],
    ["DEL", "CNI_CONTAINERID, CNI_IFNAME, CNI_PATH"],
    ["GC", "CNI_PATH"],
    ["STATUS", "CNI_PATH"],
  ])("%s names all variables that are missing at once", (verb, missing) => {
    const message = `Cannot run ${verb}: required environment variables ${missing} missing`;
    expect(refusal(() => readVerb({ CNI_COMMAND: verb }))).toMatchObject({ code: 4, message });
    const empty = { CNI_CONTAINERID: "", CNI_NETNS: "", CNI_IFNAME: "", CNI_PATH: "" };
    expect(refusal(() => readVerb({ CNI_COMMAND: verb, ...empty }))).toMatchObject({ code: 4, message });
  });

  test("VERSION needs nothing, DEL no namespace", () => {
    expect(readVerb({ CNI_COMMAND: "VERSION" })).toBe("VERSION");
    expect(readVerb({ ...full, CNI_COMMAND: "DEL", CNI_NETNS: "" })).toBe("DEL");
  });

  test.each([
    ["CNI_CONTAINERID", "-a", "it must be letters, digits, _, . and -, and begin with a letter or digit"],
    ["CNI_CONTAINERID", "a/b", "it must be letters, digits, _, . and -, and begin with a letter or digit"],
    ["CNI_CONTAINERID", "a\n", "it must be letters, digits, _, . and -, and begin with a letter or digit"],
    ["CNI_IFNAME", "x".repeat(16), "it must have at most 15 bytes"],
    ["CNI_IFNAME", "ä".repeat(8), "it must have at most 15 bytes"],
    ["CNI_IFNAME", ".", "it must not be . or .."],
    ["CNI_IFNAME", "..", "it must not be . or .."],
    ["CNI_IFNAME", "a/b", "it must not hold a slash, a colon or white space"],
    ["CNI_IFNAME", "a:b", "it must not hold a slash, a colon or white space"],
    ["CNI_IFNAME", "a b", "it must not hold a slash, a colon or white space"],
    ["CNI_IFNAME", "a\u2003b", "it must not hold a slash, a colon or white space"],
  ])("%s %j is refused before what is missing", (name, value, reason) => {
    const error = refusal(() => readVerb({ ...full, CNI_NETNS: "", [name]: value }));
    expect(error).toMatchObject({ code: 4, details: value });
    expect(error.message).toBe(`Cannot use ${name} ${JSON.stringify(value)}: ${reason}`);
    expect(readVerb({ ...full, CNI_COMMAND: "GC", [name]: value })).toBe("GC"); // which needs neither
  });

  test("a container id may have 200 characters", () => {
    expect(readVerb({ ...full, CNI_CONTAINERID: "x".repeat(200) })).toBe("ADD");
    const { message } = refusal(() => readVerb({ ...full, CNI_CONTAINERID: "x".repeat(201) }));
    expect(message).toMatch(/^Cannot use CNI_CONTAINERID "x+\.\.\.: it must have at most 200 characters$/);
  });

  test("of any environment the verb is read, or a CniError names a variable of it", () => {
    const value = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom(...Object.values(full), undefined));
    const environments = fc.dictionary(fc.constantFrom(...Object.keys(full)), value);
    fc.assert(
      fc.property(environments, (changes) => {
        const environment = { ...full, ...changes } as Environment;
        try {
          expect(readVerb(environment)).toBe(environment.CNI_COMMAND as Verb);
        } catch (error) {
          expect(error).toBeInstanceOf(CniError);
          expect((error as CniError).code).toBe(codes.badEnvironment);
          expect((error as CniError).message).toContain("CNI_");
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("the configuration", () => {
  test.each([
    ['{"name": "net"}', { name: "net", cniVersion: "0.1.0" }],
    ['{"name": "net", "cniVersion": ""}', { name: "net", cniVersion: "0.1.0" }],
    ['{"name": "net", "cniVersion": null}', { name: "net", cniVersion: "0.1.0" }],
    ['{"NAME": "net", "CNIVersion": "1.0.0"}', { name: "net", cniVersion: "1.0.0" }],
    ['{"name": "a", "name": "b"}', { name: "b" }],
    ['{"name": "a", "Name": "b"}', { name: "b" }],
    ['{"name": null, "Name": "b"}', { name: "b" }],
    [' {"name": "n_.-9", "other": [1]} ', { name: "n_.-9", other: [1] }],
  ])("%s is read", (text, values) => {
    expect(readConfiguration(bytes(text))).toMatchObject(values);
  });

  test.each([
    ["", 6],
    ["{", 6],
    ["nonsense", 6],
    ["[]", 6],
    ["null", 6],
    ['"text"', 6],
    ["5", 6],
    ['{"name": "a"} {}', 6],
    ['{"name": "a", "cniVersion": 5}', 6],
    ["{}", 7],
    ['{"name": ""}', 7],
    ['{"name": null}', 7],
    ['{"name": 5}', 7],
    ['{"name": "a/b"}', 7],
    ['{"name": "../../etc"}', 7],
    ['{"name": "-a"}', 7],
    ['{"name": "a\\u0000"}', 7],
    ['{"name": "a\\n"}', 7],
  ])("%j is refused with code %d", (text, code) => {
    const error = refusal(() => readConfiguration(bytes(text)));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(
      code === 7 ? /^Cannot use name / : /^Cannot (read the configuration on stdin|use cniV)/,
    );
  });

  test("a name may have 200 characters, and is text", () => {
    const named = (name: string) => bytes(`{"name": ${name}}`);
    expect(readConfiguration(named(`"${"a".repeat(200)}"`)).name).toHaveLength(200);
    for (const name of [`"${"a".repeat(201)}"`, "[".repeat(5000) + "]".repeat(5000)]) {
      const error = refusal(() => readConfiguration(named(name)));
      expect(error.code).toBe(7);
      expect(error.message.length).toBeLessThan(400);
    }
  });

  test("bytes that are no UTF-8 are code 6", () => {
    expect(refusal(() => readConfiguration(Uint8Array.from([0x7b, 0xff, 0x7d]))).code).toBe(6);
  });

  test("what is nested without end is refused, and no exhausted stack", () => {
    for (const open of ["[", '{"a":'])
      expect(refusal(() => readConfiguration(bytes(open.repeat(1_000_000)))).code).toBe(6);
  });

  test("of any bytes a configuration is read or a CniError thrown", () => {
    const good = '{"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": {"type": "host-local"}}';
    const mutated = fc
      .array(fc.tuple(fc.nat(good.length), fc.string({ maxLength: 3 })), { maxLength: 3 })
      .map((changes) =>
        changes.reduce((text, [at, put]) => text.slice(0, at) + put + text.slice(at + put.length), good),
      );
    fc.assert(
      fc.property(fc.oneof(mutated.map(bytes), fc.uint8Array(), fc.json().map(bytes)), (stdin) => {
        try {
          const { name, cniVersion } = readConfiguration(stdin);
          expect(name).toMatch(/^[a-zA-Z0-9][\w.-]*$/);
          expect(cniVersion).toBeString();
        } catch (error) {
          expect(error).toBeInstanceOf(CniError);
          expect([6, 7]).toContain((error as CniError).code);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

test.each([
  ['{"a": 1, "A": 2}', 2],
  ['{"A": 2, "a": 1}', 1],
  ['{"A": 2, "a": null}', 2],
  ['{"a": null}', undefined],
  ['{"b": 1}', undefined],
  ['{"a": false}', false],
])("of %s the key a is %p", (json, value) => {
  expect(anyCase(JSON.parse(json), "a")).toBe(value);
});

test("keys that every object has are not found", () => {
  for (const key of ["constructor", "toString", "__proto__"]) expect(anyCase({}, key)).toBeUndefined();
});

describe("versions", () => {
  test.each<[Verb, string]>([
    ["ADD", "0.1.0"],
    ["DEL", "0.1.0"],
    ["CHECK", "0.4.0"],
    ["GC", "1.1.0"],
    ["STATUS", "1.1.0"],
  ])("%s is there from %s on", (verb, since) => {
    for (const version of versions) {
      if (versions.indexOf(version) >= versions.indexOf(since as any)) assertVersion(verb, version);
      else {
        expect(refusal(() => assertVersion(verb, version))).toMatchObject({
          code: codes.incompatibleVersion,
          message: `Cannot use cniVersion "${version}": ${verb} needs ${since} or later`,
        });
      }
    }
  });

  test.each(["0.1", "1.2.0", "2.0.0", "1.0.0 ", "v1.0.0", "1.0.0.0", "x"])("%j is not spoken", (version) => {
    expect(refusal(() => assertVersion("ADD", version))).toMatchObject({
      code: codes.incompatibleVersion,
      message: `Cannot use cniVersion "${version}": not supported`,
      details: "supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0",
    });
  });

  test("a plugin may speak fewer", () => {
    expect(refusal(() => assertVersion("ADD", "0.2.0", ["0.4.0", "1.0.0"]))).toMatchObject({
      code: codes.incompatibleVersion,
      details: "supported: 0.4.0, 1.0.0",
    });
  });
});

describe("a request", () => {
  const conf = config({ bridge: [string, { default: "cni0" }, ""], mtu: [int, ""] });
  const plugin: Plugin<typeof conf> = { conf, add: () => ({}), del: () => {} };
  const make = (verb: Verb, json: Record<string, unknown>, environment = full) => {
    const stdin = bytes(JSON.stringify({ name: "net", cniVersion: "1.1.0", ...json }));
    return makeRequest(plugin, verb, environment, readConfiguration(stdin), stdin, {});
  };

  test("holds what environment and stdin say", () => {
    const environment = { ...full, CNI_ARGS: "IP=1", CNI_PATH: "/a::/b:", OTHER: "kept" };
    expect(make("ADD", { MTU: 1400, extra: [1] }, environment)).toMatchObject({
      ...{ verb: "ADD", containerId: "cid-1", netns: "/run/netns/a", ifname: "eth0", args: "IP=1", path: ["/a", "/b"] },
      ...{ cniVersion: "1.1.0", network: "net", conf: { bridge: "cni0", mtu: 1400 }, json: { extra: [1] } },
      ...{ prevResult: undefined, validAttachments: undefined, environment },
    });
    expect(make("DEL", {}, { CNI_COMMAND: "DEL" })).toMatchObject({ containerId: "", netns: "", ifname: "", path: [] });
  });

  const prevResult = { interfaces: [{ name: "eth0" }], ips: [{ address: "10.0.0.2/24", interface: 0 }] };

  test("holds the previous result", () => {
    expect(make("ADD", { PrevResult: prevResult }).prevResult).toMatchObject(prevResult);
    expect(make("ADD", { prevResult: null }).prevResult).toBeUndefined();
  });

  const garbage = [
    ...[5, "text", [], [{}], { ips: 5 }, { ips: [{ address: "x" }] }],
    ...[{ cniVersion: "9.9.9" }, { cniVersion: "0.2.0" }, { ips: [{ address: "10.0.0.1/8", interface: "0" }] }],
  ].map((one) => [one] as const);

  test.each(garbage)("with the previous result %j ends ADD and CHECK, and leaves DEL, GC and STATUS alone", (given) => {
    for (const verb of ["ADD", "CHECK"] as const) {
      const error = refusal(() => make(verb, { prevResult: given }));
      expect(error.code).toBe(codes.invalidConfig);
      expect(error.message).toStartWith("Cannot use prevResult");
    }
    for (const verb of ["DEL", "GC", "STATUS"] as const) {
      expect(make(verb, { prevResult: given }).prevResult).toBeUndefined();
    }
  });

  const alive = [{ containerID: "a", ifname: "eth0" }];

  test.each([
    [{ "cni.dev/valid-attachments": alive }, [{ containerId: "a", ifname: "eth0" }]],
    [{ "cni.dev/attachments": alive }, [{ containerId: "a", ifname: "eth0" }]], // the key of an old draft
    [{ "cni.dev/valid-attachments": [], "cni.dev/attachments": alive }, []],
    [{ "CNI.dev/Valid-Attachments": [{ CONTAINERID: "a", IfName: "b" }] }, [{ containerId: "a", ifname: "b" }]],
    [{ "cni.dev/valid-attachments": null }, []],
    [{ "CNI.dev/valid-attachments": null, "cni.dev/attachments": null }, []],
    [{ "cni.dev/valid-attachments": null, "cni.dev/attachments": alive }, [{ containerId: "a", ifname: "eth0" }]],
    [{}, undefined],
  ])("of GC with %j holds the living %j", (json, attachments) => {
    expect(make("GC", json).validAttachments).toEqual(attachments as any);
    expect(make("DEL", json).validAttachments).toBeUndefined();
  });

  test.each([
    [{}, " {}: must be a list"],
    ["a", ' "a": must be a list'],
    [[5], "[0] 5: must be an object"],
    [[null], "[0] null: must be an object"],
    [[{ ifname: "a" }], "[0].containerID undefined: must be a string"],
    [[...alive, { containerID: "a", ifname: 5 }], "[1].ifname 5: must be a string"],
  ])("of GC with living attachments %j is refused", (given, message) => {
    expect(refusal(() => make("GC", { "cni.dev/valid-attachments": given }))).toMatchObject({
      code: codes.invalidConfig,
      message: `Cannot use cni.dev/valid-attachments${message}`,
    });
  });

  test("is refused with a bad value, which is named", () => {
    expect(refusal(() => make("ADD", { mtu: "x" })).message).toBe('Cannot use mtu "x": must be a whole number');
  });
});
