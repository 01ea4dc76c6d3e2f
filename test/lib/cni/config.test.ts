import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  any,
  bool,
  cidr,
  cidrText,
  config,
  docOf,
  int,
  ip,
  later,
  linkName,
  list,
  mac,
  object,
  oneOf,
  parseArgs,
  readFields,
  readWhatCan,
  schemaOf,
  string,
  type Type,
} from "../../../lib/cni/config.ts";
import { CniError } from "../../../lib/cni/errors.ts";
import { formatCidr } from "../../../lib/netlink/inet.ts";

const fields = config({
  master: [string, { required: true }, "host link"],
  vlanId: [int, { min: 0, max: 4094 }, "VLAN id"],
  mtu: [int, { min: 68 }, "MTU"],
  up: [bool, { default: true }, "up"],
  mode: [oneOf("bridge", "private"), "mode"],
  ports: [list(int), { min: 1, max: 10 }, "ports"],
  names: [list(string), "names"],
  address: [cidr, "address"],
  subnet: [cidrText, "subnet"],
  gateway: [ip, "gateway"],
  mac: [mac, "mac"],
  bridge: [linkName, "bridge"],
  ipam: [any, "ipam"],
  dns: [
    object({ domain: [string, "domain"], search: [list(string), "search"], ttl: [int, { required: true }, "ttl"] }),
    "dns",
  ],
  rules: [
    list(object({ dst: [cidrText, { required: true }, "dst"], priority: [int, { min: 0 }, "priority"] })),
    "rules",
  ],
});

const read = (json: string) => readFields(fields, JSON.parse(json)) as Record<string, unknown>;

function refusal(body: () => unknown): CniError {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(CniError);
    return error as CniError;
  }
  throw new Error("Cannot refuse: nothing was thrown");
}

describe("keys", () => {
  test("match without regard to case", () => {
    expect(read('{"MASTER": "a", "VlanID": 5, "dNs": {"DOMAIN": "x", "Ttl": 1}}')).toMatchObject({
      ...{ master: "a", vlanId: 5 },
      dns: { domain: "x", ttl: 1 },
    });
  });

  test.each([
    ['{"master": "a", "master": "b"}', "b"],
    ['{"master": "a", "MASTER": "b"}', "b"],
    ['{"MASTER": "a", "master": "b"}', "b"],
    ['{"master": "a", "MASTER": null}', "a"],
    ['{"MASTER": "a", "Master": "b", "mASTER": "c"}', "c"],
  ])("that come twice count as the last one does: %s", (json, master) => {
    expect(read(json).master).toBe(master);
  });

  test("that nobody knows are ignored, also those that every object has", () => {
    const json =
      '{"master": "a", "x": 1, "constructor": 1, "toString": {}, "__proto__": {"mtu": 1}, "hasOwnProperty": 0}';
    expect(read(json)).toEqual(read('{"master": "a"}'));
  });

  test("that are null are absent", () => {
    expect(read('{"master": "a", "up": null, "mtu": null, "rules": null, "dns": null}')).toEqual(
      read('{"master": "a"}'),
    );
    expect(refusal(() => read('{"master": null}')).message).toBe("Cannot use master undefined: it is required");
  });

  test("that are missing have their default, or are undefined", () => {
    const values = read('{"master": "a"}');
    expect(Object.keys(values).sort()).toEqual(Object.keys(fields).sort());
    expect(values).toMatchObject({ master: "a", up: true, mtu: undefined });
    expect(read('{"master": "a", "up": false}').up).toBe(false);
  });
});

describe("wrong values are named with their key", () => {
  test.each([
    ['{"master": 5}', "Cannot use master 5: must be a string"],
    ['{"master": "a", "vlanId": "5"}', 'Cannot use vlanId "5": must be a whole number'],
    ['{"master": "a", "vlanId": 1.5}', "Cannot use vlanId 1.5: must be a whole number"],
    ['{"master": "a", "vlanId": 1e400}', "Cannot use vlanId null: must be a whole number"],
    ['{"master": "a", "vlanId": 9007199254740993}', "Cannot use vlanId 9007199254740992: must be a whole number"],
    ['{"master": "a", "vlanId": -1}', "Cannot use vlanId -1: must be 0 to 4094"],
    ['{"master": "a", "vlanId": 4095}', "Cannot use vlanId 4095: must be 0 to 4094"],
    ['{"master": "a", "MTU": 67}', "Cannot use mtu 67: must be 68 or more"],
    ['{"master": "a", "up": "true"}', 'Cannot use up "true": must be true or false'],
    ['{"master": "a", "up": 1}', "Cannot use up 1: must be true or false"],
    ['{"master": "a", "names": "a"}', 'Cannot use names "a": must be a list'],
    ['{"master": "a", "names": {}}', "Cannot use names {}: must be a list"],
    ['{"master": "a", "names": ["a", 5]}', "Cannot use names[1] 5: must be a string"],
    ['{"master": "a", "names": ["a", null]}', "Cannot use names[1] null: must not be null"],
    ['{"master": "a", "ports": [1, 11]}', "Cannot use ports[1] 11: must be 1 to 10"],
    [
      '{"master": "a", "address": "10.0.0.1"}',
      'Cannot use address "10.0.0.1": must be an address and a prefix length, as 10.0.0.0/24',
    ],
    [
      '{"master": "a", "subnet": "10.0.0.0/33"}',
      'Cannot use subnet "10.0.0.0/33": must be an address and a prefix length, as 10.0.0.0/24',
    ],
    ['{"master": "a", "gateway": "10.0.0.01"}', 'Cannot use gateway "10.0.0.01": must be an IP address'],
    [
      '{"master": "a", "mac": "02:00"}',
      'Cannot use mac "02:00": must be six bytes in hexadecimal, as 02:00:00:00:00:01',
    ],
    ['{"master": "a", "mac": "01:00:00:00:00:01"}', 'Cannot use mac "01:00:00:00:00:01": must not be a group address'],
    ['{"master": "a", "mac": "00:00:00:00:00:00"}', 'Cannot use mac "00:00:00:00:00:00": must not be all zero'],
    ['{"master": "a", "dns": []}', "Cannot use dns []: must be an object"],
    ['{"master": "a", "dns": {}}', "Cannot use dns.ttl undefined: it is required"],
    ['{"master": "a", "dns": {"ttl": 1, "search": [1]}}', "Cannot use dns.search[0] 1: must be a string"],
    ['{"master": "a", "rules": [{"dst": "10.0.0.0/8"}, {}]}', "Cannot use rules[1].dst undefined: it is required"],
    [
      '{"master": "a", "rules": [{"dst": "x", "priority": -1}]}',
      'Cannot use rules[0].dst "x": must be an address and a prefix length, as 10.0.0.0/24',
    ],
    ['{"master": "a", "rules": [5]}', "Cannot use rules[0] 5: must be an object"],
    ["[]", "Cannot use the configuration []: must be an object"],
    ["null", "Cannot use the configuration null: must be an object"],
    ['"text"', 'Cannot use the configuration "text": must be an object'],
  ])("%s", (json, message) => {
    expect(refusal(() => read(json))).toMatchObject({ message, code: 7 });
  });

  test("an unknown word is code 2, as the specification wants it", () => {
    expect(refusal(() => read('{"master": "a", "mode": "Bridge"}'))).toMatchObject({
      message: 'Cannot use mode "Bridge": must be one of bridge, private',
      code: 2,
    });
  });

  test.each(["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\u00a0b", "x".repeat(16), "ä".repeat(8)])(
    "%j is no name of a link",
    (name) => {
      const { message } = refusal(() => read(JSON.stringify({ master: "a", bridge: name })));
      expect(message).toStartWith("Cannot use bridge ");
      expect(message).toEndWith(": must be a link's name: 1 to 15 bytes without slash, colon or white space");
    },
  );
});

test("text holds no NUL: C would cut it there", () => {
  for (const key of ["master", "bridge", "names"]) {
    const value = key === "names" ? ["a\0b"] : "a\0b";
    const { message } = refusal(() => read(JSON.stringify({ master: "a", [key]: value })));
    expect(message).toMatch(/^Cannot use (master|bridge|names\[0\]) "a\\u0000b": must not hold a NUL$/);
  }
});

describe("values", () => {
  test.each([
    ["gateway", "fd00:0::1", "fd00::1"],
    ["gateway", "::ffff:10.0.0.1", "10.0.0.1"],
    ["gateway", "", undefined],
    ["subnet", "10.0.0.5/24", "10.0.0.5/24"],
    ["subnet", "FD00:0::5/64", "fd00::5/64"],
    ["mac", "02-00-00-00-00-0A", "02:00:00:00:00:0a"],
    ["mac", "", undefined],
    ["vlanId", 0, 0],
    ["vlanId", 4094, 4094],
    ["mtu", 2 ** 53 - 1, 2 ** 53 - 1],
    ["names", [], []],
    ["bridge", "cni0.100", "cni0.100"],
    ["ipam", { type: "host-local", anything: [1] }, { type: "host-local", anything: [1] }],
    ["mode", "private", "private"],
  ])("%s %j is read as %j", (key, given, value) => {
    expect(read(JSON.stringify({ master: "a", [key]: given }))[key]).toEqual(value);
  });

  test("an address with its network's length keeps its host bits", () => {
    expect(formatCidr(readFields(fields, { master: "a", address: "10.0.0.5/24" }).address!)).toBe("10.0.0.5/24");
  });
});

test("what is read later is refused later, by its key", () => {
  const lazy = config({ ipam: [later(object(config({ mtu: [int, "MTU"] }))), "section"] });
  const read = readFields(lazy, { ipam: { mtu: "x" } });
  expect(() => read.ipam?.()).toThrow('Cannot use ipam.mtu "x"');
  expect(readFields(lazy, { ipam: { mtu: 3 } }).ipam?.()).toEqual({ mtu: 3 });
  expect(schemaOf(lazy).properties).toMatchObject({
    ipam: { type: "object", properties: { mtu: { type: "integer" } } },
  });
});

test("a table describes itself as a JSON Schema", () => {
  expect(schemaOf(fields)).toMatchObject({
    type: "object",
    required: ["master"],
    properties: {
      master: { type: "string", description: "host link" },
      vlanId: { type: "integer", minimum: 0, maximum: 4094 },
      mtu: { type: "integer", minimum: 68 },
      up: { type: "boolean", default: true },
      mode: { enum: ["bridge", "private"] },
      ports: { type: "array", items: { type: "integer", minimum: 1, maximum: 10 } },
      rules: { type: "array", items: { type: "object", required: ["dst"] } },
      dns: { type: "object", required: ["ttl"], properties: { search: { type: "array", items: { type: "string" } } } },
      ipam: { description: "ipam" },
    },
  });
  expect((schemaOf(fields) as any).properties.ports).not.toHaveProperty("minimum");
  for (const name in fields) expect(docOf(fields[name as keyof typeof fields])).not.toBe("");
});

describe("CNI_ARGS", () => {
  const parse = (text: string) => parseArgs(text, ["IP", "MAC"]);

  test.each([
    ["", {}],
    ["IP=10.0.0.1", { IP: "10.0.0.1" }],
    ["IP=10.0.0.1;MAC=02:00:00:00:00:01", { IP: "10.0.0.1", MAC: "02:00:00:00:00:01" }],
    ["IP=1;IP=2;", { IP: "2" }],
    ["IP=", { IP: "" }],
    ["IgnoreUnknown=1;K8S_POD_NAME=a;IP=1", { IP: "1" }],
    ["K8S_POD_NAME=a;IgnoreUnknown=TRUE", {}],
    ["IgnoreUnknown=0;IP=1", { IP: "1" }],
    ["IgnoreUnknown=1;ip=1;constructor=1;__proto__=1", {}], // keys are taken in their exact case
  ])("%s", (text, values) => {
    expect(parse(text)).toEqual(values);
  });

  test.each([
    ["IP", 'Cannot use CNI_ARGS "IP": "IP" is not of the form KEY=VALUE'],
    ["IP=1;MAC=a=b", 'Cannot use CNI_ARGS "IP=1;MAC=a=b": "MAC=a=b" is not of the form KEY=VALUE'],
    ["A=1;IP=1;B=2", 'Cannot use CNI_ARGS "A=1;IP=1;B=2": unknown keys in A=1, B=2'],
    ["ip=1", 'Cannot use CNI_ARGS "ip=1": unknown keys in ip=1'],
    ["IgnoreUnknown=false;A=1", 'Cannot use CNI_ARGS "IgnoreUnknown=false;A=1": unknown keys in A=1'],
    ["IgnoreUnknown=yes", 'Cannot use CNI_ARGS "IgnoreUnknown=yes": IgnoreUnknown must be 1, 0, true or false'],
  ])("%s is refused", (text, message) => {
    expect(refusal(() => parse(text))).toMatchObject({ message, code: 4 });
  });

  test("any text is read or refused with a CniError that names the variable", () => {
    const text = fc.string({ unit: fc.constantFrom(..."IPMAC=;:0x ", "IP", "IgnoreUnknown", "true") });
    fc.assert(
      fc.property(text, (text) => {
        try {
          parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(CniError);
          expect((error as CniError).message).toContain("CNI_ARGS");
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("generated", () => {
  const keys = [...Object.keys(fields), "MTU", "Master", "constructor", "__proto__", "toString", "unknown"];
  const good: Record<string, unknown> = {
    ...{
      master: "a",
      vlanId: 5,
      mtu: 1400,
      up: false,
      mode: "bridge",
      ports: [1],
      names: ["x"],
      address: "10.0.0.1/8",
    },
    ...{ subnet: "fd00::/8", gateway: "10.0.0.1", mac: "02:00:00:00:00:01", bridge: "b", ipam: {}, dns: { ttl: 1 } },
    rules: [{ dst: "10.0.0.0/8", priority: 1 }],
  };

  test("a good configuration stays good with any unknown keys", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (extra) => {
        const known = new Set(Object.keys(fields).map((key) => key.toLowerCase()));
        const unknown = Object.fromEntries(Object.entries(extra).filter(([key]) => !known.has(key.toLowerCase())));
        expect(readFields(fields, { ...unknown, ...good })).toEqual(readFields(fields, good));
      }),
    );
  });

  test("any JSON is read, or refused with a CniError that names a key of the table", () => {
    const value = fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constantFrom(...Object.values(good)), fc.constant(null));
    const mutated = fc.dictionary(fc.constantFrom(...keys), value).map((changes) => ({ ...good, ...changes }));
    const named = new RegExp(`^Cannot use (the configuration|(${Object.keys(fields).join("|")})[^ ]*) `);
    fc.assert(
      fc.property(fc.oneof(mutated, fc.jsonValue()), (json) => {
        try {
          readFields(fields, JSON.parse(JSON.stringify(json)));
        } catch (error) {
          expect(error).toBeInstanceOf(CniError);
          expect((error as CniError).message).toMatch(named);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("every type gives of any JSON a value or a CniError that names the key", () => {
    const types: Type<unknown>[] = [string, bool, int, any, list(int), ip, cidr, cidrText, mac, linkName, oneOf("a")];
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        for (const type of types) {
          try {
            type.read(value, "some.key", {});
          } catch (error) {
            expect(error).toBeInstanceOf(CniError);
            expect((error as CniError).message).toStartWith("Cannot use some.key");
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

test("what can be read is, where DEL must get on; what cannot is told of and counts as absent", () => {
  const told: string[] = [];
  const table = config({ ...fields, inner: [object({ a: [int, "a"], b: [string, { default: "x" }, "b"] }), "inner"] });
  const given = { master: "eth0", vlanId: 9999, up: "yes", mtu: 1400, inner: { a: "1", b: "y" } };
  const values = readWhatCan(table, given, (error) => told.push((error as Error).message));
  expect(values).toMatchObject({ master: "eth0", vlanId: undefined, up: true, mtu: 1400, inner: { b: "y" } });
  expect(told.map((text) => text.split(" ")[2])).toEqual(["vlanId", "up", "inner.a"]);
  expect(() => readFields(table, given)).toThrow("vlanId");
});
