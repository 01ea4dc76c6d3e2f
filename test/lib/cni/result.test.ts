import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { CniError, codes } from "../../../lib/cni/errors.ts";
import {
  assertOnePerFamily,
  containerEnd,
  newest,
  type Result,
  readResult,
  versions,
  writeResult,
} from "../../../lib/cni/result.ts";
import { addresses } from "../../helpers/bytes.ts";

function refusal(body: () => unknown): CniError {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(CniError);
    return error as CniError;
  }
  throw new Error("Cannot refuse: nothing was thrown");
}

const result: Result = {
  interfaces: [
    { name: "cni0", mac: "02:00:00:00:00:01", mtu: 1500 },
    {
      name: "eth0",
      mac: "02:00:00:00:00:02",
      mtu: 1400,
      sandbox: "/run/netns/a",
      pciID: "0000:00:1f.6",
      socketPath: "/s",
    },
  ],
  ips: [
    { interface: 1, address: "10.0.0.2/24", gateway: "10.0.0.1" },
    { interface: 1, address: "fd00::2/64", gateway: "fd00::1" },
    { interface: 1, address: "10.0.1.2/24" },
  ],
  routes: [
    { dst: "0.0.0.0/0", gw: "10.0.0.1", mtu: 1300, advmss: 1200, priority: 5, table: 0, scope: 0 },
    { dst: "::/0" },
  ],
  dns: { nameservers: ["10.0.0.53"], domain: "cluster.local", search: ["a", "b"], options: ["ndots:5"] },
};

// Texts, for the order of keys and the indent are part of it: the Go library's, byte for byte.
const old = (version: string) => `{
    "cniVersion": "${version}",
    "ip4": {
        "ip": "10.0.0.2/24",
        "gateway": "10.0.0.1",
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "10.0.0.1"
            }
        ]
    },
    "ip6": {
        "ip": "fd00::2/64",
        "gateway": "fd00::1",
        "routes": [
            {
                "dst": "::/0"
            }
        ]
    },
    "dns": {
        "nameservers": [
            "10.0.0.53"
        ],
        "domain": "cluster.local",
        "search": [
            "a",
            "b"
        ],
        "options": [
            "ndots:5"
        ]
    }
}`;

const middle = (version: string) => `{
    "cniVersion": "${version}",
    "interfaces": [
        {
            "name": "cni0",
            "mac": "02:00:00:00:00:01"
        },
        {
            "name": "eth0",
            "mac": "02:00:00:00:00:02",
            "sandbox": "/run/netns/a"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 1,
            "address": "10.0.0.2/24",
            "gateway": "10.0.0.1"
        },
        {
            "version": "6",
            "interface": 1,
            "address": "fd00::2/64",
            "gateway": "fd00::1"
        },
        {
            "version": "4",
            "interface": 1,
            "address": "10.0.1.2/24"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.0.0.1",
            "mtu": 1300,
            "advmss": 1200,
            "priority": 5,
            "table": 0,
            "scope": 0
        },
        {
            "dst": "::/0"
        }
    ],
    "dns": {
        "nameservers": [
            "10.0.0.53"
        ],
        "domain": "cluster.local",
        "search": [
            "a",
            "b"
        ],
        "options": [
            "ndots:5"
        ]
    }
}`;

const interfaces100 = `        {
            "mac": "02:00:00:00:00:01",
            "name": "cni0"
        },
        {
            "mac": "02:00:00:00:00:02",
            "name": "eth0",
            "sandbox": "/run/netns/a"
        }`;

const interfaces110 = `        {
            "mac": "02:00:00:00:00:01",
            "mtu": 1500,
            "name": "cni0"
        },
        {
            "mac": "02:00:00:00:00:02",
            "mtu": 1400,
            "name": "eth0",
            "pciID": "0000:00:1f.6",
            "sandbox": "/run/netns/a",
            "socketPath": "/s"
        }`;

const modern = (version: string, interfaces: string) => `{
    "cniVersion": "${version}",
    "dns": {
        "domain": "cluster.local",
        "nameservers": [
            "10.0.0.53"
        ],
        "options": [
            "ndots:5"
        ],
        "search": [
            "a",
            "b"
        ]
    },
    "interfaces": [
${interfaces}
    ],
    "ips": [
        {
            "address": "10.0.0.2/24",
            "gateway": "10.0.0.1",
            "interface": 1
        },
        {
            "address": "fd00::2/64",
            "gateway": "fd00::1",
            "interface": 1
        },
        {
            "address": "10.0.1.2/24",
            "interface": 1
        }
    ],
    "routes": [
        {
            "advmss": 1200,
            "dst": "0.0.0.0/0",
            "gw": "10.0.0.1",
            "mtu": 1300,
            "priority": 5,
            "scope": 0,
            "table": 0
        },
        {
            "dst": "::/0"
        }
    ]
}`;

const texts: Record<string, string> = {
  "0.1.0": old("0.1.0"),
  "0.2.0": old("0.2.0"),
  "0.3.0": middle("0.3.0"),
  "0.3.1": middle("0.3.1"),
  "0.4.0": middle("0.4.0"),
  "1.0.0": modern("1.0.0", interfaces100),
  "1.1.0": modern("1.1.0", interfaces110),
};

const bare = [
  { name: "cni0", mac: "02:00:00:00:00:01" },
  { name: "eth0", mac: "02:00:00:00:00:02", sandbox: "/run/netns/a" },
];

/** What is left of the result above when it has been written for a version. */
const left: Record<string, Result> = {
  "0.1.0": {
    ips: [
      { address: "10.0.0.2/24", gateway: "10.0.0.1" },
      { address: "fd00::2/64", gateway: "fd00::1" },
    ],
    routes: [{ dst: "0.0.0.0/0", gw: "10.0.0.1" }, { dst: "::/0" }],
    dns: result.dns,
  },
  "0.3.0": { ...result, interfaces: bare },
  "1.1.0": result,
};
left["0.2.0"] = left["0.1.0"]!;
left["0.3.1"] = left["0.4.0"] = left["1.0.0"] = left["0.3.0"]!;

test("there is a text of every version here, and the newest is the last", () => {
  expect(Object.keys(texts)).toEqual([...versions]);
  expect(versions.at(-1)).toBe(newest);
});

test.each([...versions])("a result is written for %s, and what that can hold is read again", (version) => {
  expect(writeResult(result, version)).toBe(texts[version]!);
  expect(readResult(JSON.parse(texts[version]!), version)).toEqual(left[version]!);
});

test.each(versions.flatMap((from) => versions.map((to) => [from, to] as const)))(
  "a result of %s is written for %s",
  (from, to) => {
    const read = readResult(JSON.parse(texts[from]!), from);
    const text = writeResult(read, to);
    // Interfaces are lost on the way over 0.2.0, their newer fields over 1.0.0; nothing else.
    const rank = (version: string) => (version < "0.3.0" ? 0 : version < "1.1.0" ? 1 : 2);
    if (rank(from) >= rank(to)) expect(text).toBe(texts[to]!);
    expect(readResult(JSON.parse(text), to)).toEqual(readResult(JSON.parse(writeResult(left[from]!, to)), to));
  },
);

test("the container's end is found by its name and namespace, never the host's", () => {
  const mac = "02:00:00:00:00:02";
  expect(containerEnd(result, "eth0")).toMatchObject({ mac });
  expect(containerEnd(result, "eth0", "/run/netns/a")).toMatchObject({ mac });
  expect(containerEnd(result, "eth0", "/run/netns/b")).toBeUndefined();
  expect(containerEnd(result, "cni0")).toBeUndefined();
  expect(containerEnd(undefined, "eth0")).toBeUndefined();
});

describe("an empty result", () => {
  test.each([
    ["0.3.0", '{"cniVersion":"0.3.0","dns":{}}'],
    ["0.4.0", '{"cniVersion":"0.4.0","dns":{}}'],
    ["1.0.0", '{"cniVersion":"1.0.0"}'],
    ["1.1.0", '{"cniVersion":"1.1.0"}'],
  ])("of %s is %s, whatever is empty in it", (version, text) => {
    const empty: Result[] = [{}, { interfaces: [], ips: [], routes: [], dns: {} }, { dns: { search: [], domain: "" } }];
    for (const one of empty) expect(JSON.stringify(JSON.parse(writeResult(one, version)))).toBe(text);
  });

  test.each(["0.1.0", "0.2.0"])("cannot be written for %s", (version) => {
    for (const one of [{}, { interfaces: result.interfaces }, { ips: [] }]) {
      expect(refusal(() => writeResult(one, version))).toMatchObject({
        code: codes.unsupportedField,
        message: `Cannot use cniVersion "${version}": it has no result without addresses`,
      });
    }
  });
});

test("fields that are empty are not written; an index, a table and a scope of 0 are", () => {
  const empty: Result = {
    interfaces: [{ name: "", mac: "", mtu: 0, sandbox: "", pciID: "", socketPath: "" }],
    ips: [{ address: "10.0.0.2/24", gateway: "", interface: 0 }],
    routes: [{ dst: "0.0.0.0/0", gw: "", mtu: 0, advmss: 0, priority: 0, table: 0, scope: 0 }],
  };
  for (const version of ["0.4.0", "1.0.0", "1.1.0"]) {
    const { interfaces, ips, routes } = JSON.parse(writeResult(empty, version));
    expect(interfaces).toEqual([{ name: "" }]);
    expect(ips).toEqual([{ address: "10.0.0.2/24", interface: 0, ...(version === "0.4.0" ? { version: "4" } : {}) }]);
    expect(routes).toEqual([{ dst: "0.0.0.0/0", table: 0, scope: 0 }]);
  }
});

test("before 0.3.0 routes of a family without an address are left out", () => {
  const four: Result = {
    ips: [{ address: "10.0.0.2/24" }],
    routes: [{ dst: "::/0" }, { dst: "10.0.0.0/8", mtu: 1300 }],
  };
  expect(JSON.parse(writeResult(four, "0.2.0"))).toEqual({
    cniVersion: "0.2.0",
    ip4: { ip: "10.0.0.2/24", routes: [{ dst: "10.0.0.0/8" }] },
    dns: {},
  });
});

describe("reading", () => {
  test.each([
    ["0.1.0", "0.2.0"],
    ["0.3.0", "0.4.0"],
    ["0.4.0", "0.3.1"],
    ["1.0.0", "1.1.0"],
    ["1.1.0", "1.0.0"],
  ])("a result of %s goes with a configuration of %s", (own, version) => {
    expect(readResult(JSON.parse(texts[own]!), version)).toEqual(left[own]!);
  });

  test.each([
    ["0.2.0", "0.3.0"],
    ["0.4.0", "1.0.0"],
    ["1.0.0", "0.4.0"],
    ["1.1.0", "0.1.0"],
  ])("a result of %s does not go with a configuration of %s", (own, version) => {
    expect(refusal(() => readResult(JSON.parse(texts[own]!), version))).toMatchObject({
      code: codes.invalidConfig,
      message: `Cannot use prevResult.cniVersion "${own}": does not go with the configuration's cniVersion ${version}`,
    });
  });

  test("a result that names no version is of the configuration's", () => {
    const { cniVersion: _, ...nameless } = JSON.parse(texts["0.1.0"]!);
    expect(readResult(nameless, "0.2.0")).toEqual(left["0.1.0"]!);
    expect(readResult({ ...nameless, cniVersion: "" }, "0.2.0")).toEqual(left["0.1.0"]!);
    expect(readResult(nameless, "1.0.0").ips).toBeUndefined();
  });

  test("keys match without regard to case, and addresses become canonical", () => {
    const read = readResult({ IPs: [{ Address: "FD00:0::2/64", GATEWAY: "" }], Interfaces: [{ Name: "a" }] }, "1.0.0");
    expect(read).toMatchObject({ ips: [{ address: "fd00::2/64" }], interfaces: [{ name: "a" }] });
    expect(read.ips![0]!.gateway).toBeUndefined();
  });

  test("an address of an interface that is not listed passes, as with the reference", () => {
    const dangling = { ips: [{ address: "10.0.0.2/24", interface: 3 }], interfaces: [{ name: "a" }] };
    expect(readResult(dangling, "1.0.0").ips).toEqual([{ address: "10.0.0.2/24", interface: 3 }]);
  });

  test.each([
    [5, "prevResult 5: must be an object"],
    [{ cniVersion: "9.9.9" }, `prevResult.cniVersion "9.9.9": must be one of ${versions.join(", ")}`],
    [{ ips: [{}] }, "prevResult.ips[0].address undefined: it is required"],
    [
      { ips: [{ address: "10.0.0.2" }] },
      'prevResult.ips[0].address "10.0.0.2": must be an address and a prefix length, as 10.0.0.0/24',
    ],
    [{ interfaces: "x" }, 'prevResult.interfaces "x": must be a list'],
    [{ interfaces: [{ mtu: "x" }] }, 'prevResult.interfaces[0].mtu "x": must be a whole number'],
    [{ routes: [{ gw: "10.0.0.1" }] }, "prevResult.routes[0].dst undefined: it is required"],
    [{ routes: [{ dst: "0.0.0.0/0", scope: 256 }] }, "prevResult.routes[0].scope 256: must be 0 to 255"],
    [{ dns: { search: "x" } }, 'prevResult.dns.search "x": must be a list'],
  ])("%j is refused by the key that is wrong", (json, message) => {
    expect(refusal(() => readResult(json, "1.0.0"))).toMatchObject({
      code: codes.invalidConfig,
      message: `Cannot use ${message}`,
    });
  });

  test("a wrong result of another name is refused under that", () => {
    expect(refusal(() => readResult(5, "1.0.0", "result of x")).message).toBe(
      "Cannot use result of x 5: must be an object",
    );
  });
});

test.each(["0.1.0", "0.2.0"])("%s takes one address of each family", (version) => {
  assertOnePerFamily(["10.0.0.2/24", "fd00::2/64"], version);
  for (const two of [
    ["10.0.0.2/24", "10.0.1.2/24"],
    ["fd00::2/64", "fd01::2/64"],
  ]) {
    const error = refusal(() => assertOnePerFamily(two, version));
    expect(error.code).toBe(codes.unsupportedField);
    expect(error.message).toContain(
      `"${version}": it does not support more than 1 address per family, there are ${two[0]}, `,
    );
    assertOnePerFamily(two, "0.3.0");
  }
});

describe("generated", () => {
  const optional = <T>(model: Record<string, fc.Arbitrary<unknown>>, required: string[]) =>
    fc.record(model, { requiredKeys: required, noNullPrototype: true }) as unknown as fc.Arbitrary<T>;
  const some = fc.string({ minLength: 1, maxLength: 8 });
  const positive = fc.integer({ min: 1, max: 0xffffffff });
  const number = fc.nat(0xffffffff);
  const network = (prefix: number) =>
    addresses.any.map((ip) => `${ip}/${Math.min(prefix, ip.includes(":") ? 128 : 32)}`);
  const cidrs = fc.nat(128).chain(network);
  const results = optional<Result>(
    {
      interfaces: fc.array(
        optional({ name: some, mac: some, mtu: positive, sandbox: some, socketPath: some, pciID: some }, ["name"]),
        { minLength: 1 },
      ),
      ips: fc.array(optional({ address: cidrs, gateway: addresses.any }, ["address"]), { minLength: 1 }),
      routes: fc.array(
        optional(
          {
            dst: cidrs,
            gw: addresses.any,
            mtu: positive,
            advmss: positive,
            priority: positive,
            table: number,
            scope: fc.nat(255),
          },
          ["dst"],
        ),
        { minLength: 1 },
      ),
      dns: optional({ domain: some, search: fc.array(some, { minLength: 1 }) }, ["domain"]),
    },
    [],
  );

  test("every result survives 1.1.0, and what other versions hold survives them", () => {
    fc.assert(
      fc.property(results, (result) => {
        expect(readResult(JSON.parse(writeResult(result, newest)), newest)).toEqual(result);
        for (const version of ["0.3.0", "0.4.0", "1.0.0"]) {
          const text = writeResult(result, version);
          expect(writeResult(readResult(JSON.parse(text), version), version)).toBe(text);
        }
        const old = result.ips && writeResult(result, "0.2.0");
        if (old) expect(writeResult(readResult(JSON.parse(old), "0.2.0"), "0.2.0")).toBe(old);
      }),
    );
  });

  test("of any JSON a result is read, or a CniError names what is wrong", () => {
    const keys = ["interfaces", "ips", "routes", "dns", "ip4", "ip6", "cniVersion", "constructor"];
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 3 }),
      fc.constantFrom(...versions),
      fc.array(fc.dictionary(fc.constantFrom("name", "address", "interface", "dst", "mtu"), fc.jsonValue())),
    );
    const any = fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom(...keys), value));
    fc.assert(
      fc.property(any, fc.constantFrom(...versions), (json, version) => {
        try {
          readResult(JSON.parse(JSON.stringify(json)), version);
        } catch (error) {
          expect(error).toBeInstanceOf(CniError);
          expect((error as CniError).message).toStartWith("Cannot use prevResult");
        }
      }),
      { numRuns: 300 },
    );
  });
});
