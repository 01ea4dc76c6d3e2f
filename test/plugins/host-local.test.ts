import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { must, run, State } from "../helpers/host-local.ts";
import { makeNode } from "../helpers/node.ts";
import { must as mustIn } from "../helpers/plugin.ts";

const subnet = "10.1.2.0/24";

/** The error object of a run that must fail, leaving everything as it was. */
async function refused(state: State, verb: string, conf: object, attachment = "c1", args = "") {
  const before = state.files();
  const { exitCode, json, stdout } = await run(verb, conf, attachment, { args });
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: expect.stringContaining('"msg"') });
  const pointers = (files: Record<string, string>) => Object.keys(files).filter((name) => !/^(lock|last_)/.test(name));
  expect(pointers(state.files())).toEqual(pointers(before));
  return json as { code: number; msg: string; details?: string };
}

describe("host-local ADD", () => {
  test("gives an address of each set, the routes, and what resolv.conf says", async () => {
    using state = new State().make();
    const resolvConf = join(state.dir, "resolv.conf");
    writeFileSync(resolvConf, "nameserver 192.0.2.53\nsearch example\n");
    const routes = [{ dst: "0.0.0.0/0" }, { dst: "192.168.0.0/16", gw: "10.1.2.9", mtu: 1400, table: 0 }];
    const ranges = [[{ subnet }], [{ subnet: "2001:db8:1::/64" }]];
    const { json } = await run("ADD", state.conf({ ranges, routes, resolvConf }));
    expect(json).toEqual({
      cniVersion: "1.1.0",
      ips: [
        { address: "10.1.2.2/24", gateway: "10.1.2.1" },
        { address: "2001:db8:1::2/64", gateway: "2001:db8:1::1" },
      ],
      routes,
      dns: { nameservers: ["192.0.2.53"], search: ["example"] },
    });
    expect(state.files()).toEqual({
      "10.1.2.2": "600 c1\r\neth0",
      "2001:db8:1::2": "600 c1\r\neth0",
      "last_reserved_ip.0": "600 10.1.2.2",
      "last_reserved_ip.1": "600 2001:db8:1::2",
      lock: "750 ",
    });
    await must("DEL", state.conf({ ranges }));
    expect(state.reservations()).toEqual([]);
    expect(readdirSync(state.cache)).toEqual([]);
  });

  test("speaks every version, and refuses two addresses of a family where results hold one", async () => {
    using state = new State();
    const two = { ranges: [[{ subnet }], [{ subnet: "10.1.3.0/24" }]] };
    const dual = { ranges: [[{ subnet }], [{ subnet: "2001:db8:1::/64" }]] };
    for (const cniVersion of ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
      expect(await must("ADD", state.conf(dual, { cniVersion }))).toHaveLength(2);
      await must("DEL", state.conf(dual, { cniVersion }));
      if (cniVersion < "0.3") {
        const { code, msg } = await refused(state, "ADD", state.conf(two, { cniVersion }));
        expect({ code, msg }).toEqual({ code: 2, msg: expect.stringContaining(cniVersion) });
      } else expect(await must("ADD", state.conf(two, { cniVersion }), cniVersion)).toHaveLength(2);
    }
  });

  test("gives two interfaces of a container an address each, and takes back one at a time", async () => {
    using state = new State();
    const conf = state.conf({ subnet });
    expect(await must("ADD", conf, "c1/eth0")).toEqual(["10.1.2.2"]);
    expect(await must("ADD", conf, "c1/eth1")).toEqual(["10.1.2.3"]);
    await must("DEL", conf, "c1/eth0");
    expect(state.reservations()).toEqual(["10.1.2.3"]);
    await must("CHECK", conf, "c1/eth1");
  });

  test("is refused to an attachment that has an address, while others get the next one", async () => {
    using state = new State();
    const conf = state.conf({ subnet });
    await must("ADD", conf);
    const { code, msg } = await refused(state, "ADD", conf);
    expect(code).toBe(102);
    for (const named of ["c1", "eth0", "10.1.2.2"]) expect(msg).toContain(named);
    expect(await must("ADD", conf, "c2")).toEqual(["10.1.2.3"]);
  });

  test("gives the same addresses again where idempotent is set", async () => {
    using state = new State();
    const ipam = { ranges: [[{ subnet }], [{ subnet: "2001:db8:1::/64" }]], idempotent: true };
    const first = await must("ADD", state.conf(ipam));
    await must("ADD", state.conf(ipam), "c2");
    expect(await must("ADD", state.conf(ipam))).toEqual(first);
    expect(await must("ADD", state.conf(ipam, { runtimeConfig: { ips: ["10.1.2.2"] } }))).toEqual(first);
    const { code, msg } = await refused(state, "ADD", state.conf(ipam, { runtimeConfig: { ips: ["10.1.2.9"] } }));
    expect({ code, msg }).toEqual({ code: 102, msg: expect.stringContaining("10.1.2.2") });
    rmSync(join(state.network, "2001:db8:1::2"));
    expect(await must("ADD", state.conf(ipam))).toEqual(["10.1.2.2", "2001:db8:1::4"]);
  });

  test("gives back what it took when a later set has none, and nothing else", async () => {
    using state = new State();
    const one = { subnet: "10.1.3.0/30" };
    await must("ADD", state.conf(one), "other");
    await must("ADD", state.conf({ subnet }), "c1/eth0");
    const { code, msg } = await refused(
      state,
      "ADD",
      state.conf({ ranges: [[{ subnet: "10.1.4.0/24" }], [one]] }),
      "c1/eth0",
    );
    expect({ code, msg }).toEqual({ code: 103, msg: expect.stringContaining("10.1.3.1-10.1.3.2") });
    expect(state.reservations()).toEqual(["10.1.2.2", "10.1.3.2"]);
  });

  test("leaves out what is excluded, the gateway, the network's and the broadcast address", async () => {
    using state = new State();
    const range = { subnet: "10.1.2.0/29", rangeStart: "10.1.2.0", rangeEnd: "10.1.2.7", gateway: "10.1.2.4" };
    for (const more of [{}, { alwaysSearch: true }]) {
      const conf = state.conf({ ...range, exclude: ["10.1.2.2"], ...more });
      expect(await Promise.all([1, 2, 3, 4].map((id) => must("ADD", conf, `c${id}`)))).toHaveLength(4);
      expect(state.reservations()).toEqual(["10.1.2.1", "10.1.2.3", "10.1.2.5", "10.1.2.6"]);
      expect((await refused(state, "ADD", conf, "c5")).code).toBe(103);
      await Promise.all([1, 2, 3, 4].map((id) => must("DEL", conf, `c${id}`)));
    }
  });

  test("takes range sets of the runtime first, then the single range, then the list", async () => {
    using state = new State();
    const ranges = [[{ subnet: "2001:db8:1::/64" }], [{ subnet: "10.3.0.0/24" }]];
    const runtimeConfig = { ipRanges: [[{ subnet: "10.0.0.0/24" }]] };
    const conf = state.conf({ subnet: "10.2.0.0/24", ranges }, { runtimeConfig });
    expect(await must("ADD", conf)).toEqual(["10.0.0.2", "10.2.0.2", "2001:db8:1::2", "10.3.0.2"]);
    expect(readFileSync(join(state.network, "last_reserved_ip.1"), "utf8")).toBe("10.2.0.2");
  });

  test("reads keys without regard to case, and null as absent", async () => {
    using state = new State();
    const range = { Subnet: subnet, RANGESTART: "10.1.2.40", rangeend: null, gateway: "", exclude: null };
    const { ipam, ...conf } = state.conf({ Ranges: [[range]], routes: null, resolvConf: null });
    expect(await must("ADD", { ...conf, IPAM: ipam, RuntimeConfig: null, args: null })).toEqual(["10.1.2.40"]);
  });

  test("needs its resolv.conf before it reserves anything", async () => {
    using state = new State();
    const { msg } = await refused(state, "ADD", state.conf({ subnet, resolvConf: "/none/resolv.conf" }));
    expect(msg).toContain("/none/resolv.conf");
    expect(existsSync(state.network)).toBe(false);
  });
});

describe("host-local ADD of a requested address", () => {
  const ipam = { subnet, ranges: [[{ subnet: "2001:db8:1::/64" }]] };

  test("takes it from CNI_ARGS, args or runtimeConfig, with or without a prefix length", async () => {
    using state = new State();
    expect(await must("ADD", state.conf(ipam), "a", { args: "IgnoreUnknown=1;K8S_POD_NAME=a;IP=10.1.2.77" })).toEqual([
      "10.1.2.77",
      "2001:db8:1::2",
    ]);
    expect((await must("ADD", state.conf(ipam), "b", { args: "IP=10.1.2.78/24" }))[0]).toBe("10.1.2.78");
    const args = { cni: { ips: ["2001:db8:1::77/64"] } };
    expect(await must("ADD", state.conf(ipam, { args }), "c")).toEqual(["10.1.2.79", "2001:db8:1::77"]);
    const runtimeConfig = { ips: ["10.1.2.90", "2001:db8:1::90"] };
    expect(await must("ADD", state.conf(ipam, { runtimeConfig }), "d")).toEqual(["10.1.2.90", "2001:db8:1::90"]);
    const one = { args: { cni: { ips: ["10.1.2.91"] } }, runtimeConfig: { ips: ["10.1.2.91"] } };
    expect((await must("ADD", state.conf(ipam, one), "e", { args: "IP=2001:db8:1::91" })).sort()).toEqual([
      "10.1.2.91",
      "2001:db8:1::91",
    ]);
    expect(readFileSync(join(state.network, "last_reserved_ip.0"), "utf8")).toBe("10.1.2.91");
  });

  const cases: [what: string, address: string, named: string, code: number][] = [
    ["that is taken", "10.1.2.50", "taken", 102],
    ["that is the gateway", "10.1.2.1", "gateway", 7],
    ["that no set has", "10.9.9.9", "10.9.9.9", 7],
    ["besides another one of the same set", "10.1.2.51,10.1.2.52", "10.1.2.52", 7],
    ["that is excluded", "10.1.2.60", "10.1.2.60", 7],
    ["that is none", "10.1.2", "CNI_ARGS IP", 7],
  ];
  test.each(cases)("refuses one %s", async (_, address, named, code) => {
    using state = new State();
    await must("ADD", state.conf(ipam), "holder", { args: "IP=10.1.2.50" });
    const conf = state.conf({ ...ipam, exclude: ["10.1.2.60"] });
    const error = await refused(state, "ADD", conf, "c1", `IP=${address}`);
    expect(error).toMatchObject({ code, msg: expect.stringContaining(named) });
  });

  test("refuses CNI_ARGS that it does not know, unless it may ignore them", async () => {
    using state = new State();
    expect(await refused(state, "ADD", state.conf(ipam), "c1", "FOO=1")).toMatchObject({ code: 4 });
    expect(await must("ADD", state.conf(ipam), "c1", { args: "FOO=1;IgnoreUnknown=true" })).toHaveLength(2);
  });
});

describe("host-local refuses", () => {
  const range = { subnet };
  const cases: [what: string, ipam: object, names: string[]][] = [
    ["no range", {}, ["ipam.ranges"]],
    ["a subnet that is none", { subnet: "10.1.2.0" }, ["ipam.subnet", "10.1.2.0"]],
    ["a subnet too small", { subnet: "10.1.2.0/31" }, ["ipam.subnet", "10.1.2.0/31"]],
    ["a start outside the subnet", { subnet, rangeStart: "10.1.3.1" }, ["ipam.rangeStart", "10.1.3.1"]],
    ["a start that is no address", { subnet, rangeStart: "10.1.2.01" }, ["ipam.rangeStart", "10.1.2.01"]],
    ["ranges that are no list", { ranges: { 0: [range] } }, ["ipam.ranges"]],
    ["a set that is no list", { ranges: [range] }, ["ipam.ranges[0]"]],
    ["an empty set", { ranges: [[range], []] }, ["ipam.ranges[1]"]],
    ["a range that is null", { ranges: [[null]] }, ["ipam.ranges[0][0]"]],
    ["a range without a subnet", { ranges: [[{}]] }, ["ipam.ranges[0][0].subnet"]],
    ["ranges that overlap", { subnet, ranges: [[range]] }, ["ipam.ranges[0][0].subnet", "10.1.2.1-10.1.2.254"]],
    ["a route without a destination", { subnet, routes: [{ gw: "10.1.2.1" }] }, ["ipam.routes[0].dst"]],
    ["a word for true", { subnet, idempotent: "yes" }, ["ipam.idempotent", '"yes"']],
    ["a resolv.conf that is a folder", { subnet, resolvConf: "/etc" }, ["ipam.resolvConf", "/etc"]],
    ["a path that ends too soon", { subnet, dataDir: "/tmp\0/x" }, ["ipam.dataDir"]],
    ["a number for a folder", { subnet, dataDir: 5 }, ["ipam.dataDir", "5"]],
  ];
  test.each(cases)("%s by key and value, and touches nothing", async (_, ipam, names) => {
    using state = new State();
    for (const verb of "resolvConf" in ipam ? ["ADD"] : ["ADD", "CHECK", "STATUS"]) {
      const { code, msg } = await refused(state, verb, state.conf(ipam));
      expect(code).toBe(7);
      for (const name of names) expect(msg).toContain(name);
    }
    expect(existsSync(state.network)).toBe(false);
  });

  test("a configuration without ipam, a range of the runtime that makes no sense, and an address that is a number", async () => {
    using state = new State();
    const { ipam, ...rest } = state.conf({ subnet });
    expect(await refused(state, "ADD", rest)).toMatchObject({ code: 7, msg: expect.stringContaining("ipam") });
    for (const [more, name] of [
      [{ runtimeConfig: { ipRanges: [[{ subnet: "10.1.2.1/24" }]] } }, "runtimeConfig.ipRanges[0][0].subnet"],
      [{ runtimeConfig: { ips: [7] } }, "runtimeConfig.ips[0]"],
      [{ args: { cni: { ips: ["x"] } } }, "args.cni.ips[0]"],
    ] as const) {
      expect(await refused(state, "ADD", { ...rest, ipam, ...more })).toMatchObject({
        code: 7,
        msg: expect.stringContaining(name),
      });
    }
  });
});

describe("host-local DEL", () => {
  test("succeeds again, for what was never there, and where nothing is", async () => {
    using state = new State();
    const conf = state.conf({ subnet });
    await must("DEL", conf);
    expect(existsSync(state.network)).toBe(false);
    await must("ADD", conf);
    await must("DEL", conf, "other");
    expect(state.reservations()).toEqual(["10.1.2.2"]);
    for (let i = 0; i < 3; i++) await must("DEL", conf);
    expect(state.reservations()).toEqual([]);
  });

  test("needs nothing of the configuration but the folder", async () => {
    using state = new State();
    const odd = [
      {},
      { subnet: "10.1.2.0/31" },
      { ranges: 5 },
      { subnet: "x", routes: "y" },
      { subnet: "192.0.2.0/24" },
    ];
    for (const ipam of odd) {
      await must("ADD", state.conf({ subnet, ranges: [[{ subnet: "2001:db8::/64" }]] }));
      expect(state.reservations()).toHaveLength(2);
      const garbled = { prevResult: { ips: 5 }, runtimeConfig: [], args: "x" };
      await must("DEL", state.conf(ipam, garbled), "c1", { args: "nonsense" });
      expect(state.reservations()).toEqual([]);
    }
  });

  test("releases reservations in the old form, after those in the new one", async () => {
    using state = new State().make();
    const conf = state.conf({ subnet });
    writeFileSync(join(state.network, "10.1.2.9"), "c1");
    writeFileSync(join(state.network, "10.1.2.10"), " c1\r\neth0\n");
    writeFileSync(join(state.network, "10.1.2.11"), "c11");
    await must("CHECK", conf);
    await must("DEL", conf);
    expect(state.reservations()).toEqual(["10.1.2.11", "10.1.2.9"]);
    await must("CHECK", conf);
    expect((await refused(state, "ADD", conf)).msg).toContain("10.1.2.9");
    await must("DEL", conf);
    expect(state.reservations()).toEqual(["10.1.2.11"]);
  });
});

describe("host-local CHECK", () => {
  test("wants a reservation, and one for each address of the result that its ranges could have given", async () => {
    using state = new State();
    const conf = state.conf({ subnet, ranges: [[{ subnet: "2001:db8:1::/64" }]] });
    expect(await refused(state, "CHECK", conf)).toMatchObject({ code: 101 });
    const { json: prevResult } = await run("ADD", conf);
    await must("CHECK", conf);
    await must("CHECK", { ...conf, prevResult });
    const interfaces = [{ name: "cni0" }, { name: "eth0", sandbox: "/x" }, { name: "eth1", sandbox: "/x" }];
    const others = [
      { address: "192.0.2.7/24", interface: 1 },
      { address: "10.1.2.99/24", interface: 2 },
    ];
    const ips = [...prevResult.ips.map((one: object) => ({ ...one, interface: 1 })), ...others];
    await must("CHECK", { ...conf, prevResult: { ...prevResult, interfaces, ips } });
    rmSync(join(state.network, "10.1.2.2"));
    await must("CHECK", conf);
    const { code, msg } = await refused(state, "CHECK", { ...conf, prevResult });
    expect({ code, msg }).toEqual({ code: 101, msg: expect.stringContaining("10.1.2.2") });
    writeFileSync(join(state.network, "10.1.2.2"), "c2\r\neth0");
    expect(await refused(state, "CHECK", { ...conf, prevResult })).toMatchObject({ code: 101 });
  });
});

describe("host-local GC", () => {
  const alive = (...list: string[]) => ({
    "cni.dev/valid-attachments": list.map((one) => {
      const [containerID, ifname = "eth0"] = one.split("/");
      return { containerID, ifname };
    }),
  });

  test("keeps what is alive by container and interface, old forms by container, and its own files", async () => {
    using state = new State();
    const conf = state.conf({ subnet, ranges: [[{ subnet: "2001:db8:1::/64" }]] });
    for (const attachment of ["c1/eth0", "c1/eth1", "c2/eth0"]) await must("ADD", conf, attachment);
    const write = (name: string, content: string) => writeFileSync(join(state.network, name), content);
    write("10.1.2.50", "c1");
    write("10.1.2.51", "c3");
    write("10.1.2.52", "");
    write("notes", "c3\r\neth0");
    mkdirSync(join(state.network, "10.1.2.53"));
    await must("GC", { ...conf, ...alive("c1/eth1", "c9/eth0") });
    expect(state.names()).toEqual(
      [
        "10.1.2.3",
        "10.1.2.50",
        "10.1.2.53",
        "2001:db8:1::3",
        "last_reserved_ip.0",
        "last_reserved_ip.1",
        "lock",
        "notes",
      ].sort(),
    );
    await must("GC", { ...conf, ...alive() });
    expect(state.reservations()).toEqual(["10.1.2.53"]);
    await must("GC", { ...conf, ...alive() });
    rmSync(join(state.network, "10.1.2.53"), { recursive: true });
    await must("GC", { ...conf, ...alive() });
    expect(readdirSync(state.cache)).toEqual([]);
    expect(await must("ADD", conf, "c4")).toEqual(["10.1.2.5", "2001:db8:1::5"]);
  });

  test("refuses without the list, needs no ranges, and makes no folder", async () => {
    using state = new State();
    await must("GC", { ...state.conf({}), ...alive() });
    expect(existsSync(state.network)).toBe(false);
    await must("ADD", state.conf({ subnet }));
    const { msg } = await refused(state, "GC", state.conf({ subnet }));
    expect(msg).toContain("cni.dev/valid-attachments");
    await must("GC", { ...state.conf({ ranges: 7 }), ...alive() });
    expect(state.reservations()).toEqual([]);
  });
});

describe("host-local STATUS", () => {
  test("says 50 when any set has no free address, and no longer when one is given back", async () => {
    using state = new State();
    const conf = state.conf({ subnet, ranges: [[{ subnet: "10.1.3.0/29" }]] });
    await must("STATUS", conf);
    expect(existsSync(state.network)).toBe(false);
    for (let i = 0; i < 5; i++) {
      await must("STATUS", conf);
      await must("ADD", conf, `c${i}`);
    }
    for (let i = 0; i < 2; i++) {
      const { code, msg } = await refused(state, "STATUS", conf);
      expect({ code, msg }).toEqual({ code: 50, msg: expect.stringContaining("10.1.3.1-10.1.3.6") });
    }
    expect((await refused(state, "ADD", conf, "c9")).code).toBe(103);
    await must("DEL", conf, "c2");
    await must("STATUS", conf);
    expect(await refused(state, "STATUS", state.conf({ subnet, exclude: [subnet] }))).toMatchObject({ code: 50 });
  });

  test("says 50 where the folder cannot be used", async () => {
    using state = new State();
    mkdirSync(state.dir, { recursive: true });
    mkdirSync(join(state.network, "lock"), { recursive: true });
    expect(await refused(state, "STATUS", state.conf({ subnet }))).toMatchObject({ code: 50 });
  });
});

test("host-local keeps its state in the usual folders of a node, and leaves no trace in /run", async () => {
  await using node = await makeNode("host-local");
  const conf = { cniVersion: "1.0.0", name: "net", type: "host-local", ipam: { type: "host-local", subnet } };
  const result = await mustIn(node, "ADD", conf, { netns: "/run/netns/none" });
  expect(result.ips[0].address).toBe("10.1.2.2/24");
  expect(readdirSync(node.path("/var/lib/cni/networks/net")).sort()).toEqual([
    "10.1.2.2",
    "last_reserved_ip.0",
    "lock",
  ]);
  const kept = async () => (await node.exec("ls", ["/run/tenon/host-local"])).stdout.trim().split("\n").filter(Boolean);
  expect(await kept()).toHaveLength(1);
  await mustIn(node, "DEL", conf);
  expect(await kept()).toEqual([]);
});
