// A link in a namespace of its own, changed from here and read back with ip(8) and sysctl(8).
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { CniError } from "../../../lib/cni/errors.ts";
import { findLink } from "../../../lib/ip/link.ts";
import {
  assertTuned,
  attributesOf,
  readSettings,
  restore,
  settingName,
  tuneLink,
  writeSettings,
} from "../../../lib/ip/tuning.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

function refusal(body: () => void): { code: number; message: string } {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(Error);
    return { code: (error as CniError).code, message: (error as Error).message };
  }
  throw new Error("Cannot refuse: it was accepted");
}

describe("the name of a setting", () => {
  test.each<[key: string, ifname: string, name: string]>([
    ["net.ipv4.ip_forward", "eth0", "ipv4/ip_forward"],
    ["net/ipv4/ip_forward", "eth0", "ipv4/ip_forward"],
    ["/net//ipv4.ip_forward", "eth0", "ipv4/ip_forward"],
    ["net.ipv4.conf.IFNAME.arp_filter", "eth0", "ipv4/conf/eth0/arp_filter"],
    ["net.ipv4.conf.IFNAME.arp_filter", "eth0.100", "ipv4/conf/eth0.100/arp_filter"],
    ["net.ipv4.conf.eth0.100.arp_filter", "eth0.100", "ipv4/conf/eth0.100/arp_filter"],
    ["net/ipv4/conf/eth0.100/arp_filter", "eth0.100", "ipv4/conf/eth0.100/arp_filter"],
    ["net.ipv4.conf.eth0.100x.arp_filter", "eth0.100", "ipv4/conf/eth0/100x/arp_filter"],
    ["net.ipv4.conf.IFNAME.IFNAME", "a", "ipv4/conf/a/IFNAME"],
    ["net.ipv4.conf.IFNAME.arp_filter", "a$&b", "ipv4/conf/a$&b/arp_filter"],
  ])("%s of %s is %s", (key, ifname, name) => {
    expect(settingName(key, ifname)).toBe(name);
  });

  test.each([
    "kernel.hostname",
    "",
    "net",
    "net.",
    "netx.ipv4.a",

    "proc.sys.net.ipv4.a",
    "IFNAME.a",
    "net.a\0b",
  ])("%j is refused", (key) => {
    expect(refusal(() => settingName(key, "eth0"))).toEqual({
      code: 7,
      message: expect.stringContaining(JSON.stringify(key)),
    });
  });

  test("no key and no interface's name lead out of the folder", () => {
    for (const key of ["net/../../kernel/hostname", "net.IFNAME.kernel", "net/IFNAME/../../x"]) {
      for (const ifname of ["eth0", "..", ".", "a..b"]) {
        try {
          expect(settingName(key, ifname).split("/")).not.toContain("..");
        } catch (error) {
          expect(error).toBeInstanceOf(CniError);
        }
      }
    }
  });
});

describe("in a namespace", () => {
  let node: Node;
  let ns: Namespace;
  const show = async () => {
    const { stdout } = await node.exec("ip", ["-j", "-d", "link", "show", "eth0"]);
    const [{ address, mtu, txqlen, flags, promiscuity }] = JSON.parse(stdout);
    return {
      address,
      mtu,
      txqlen,
      promisc: flags.includes("PROMISC"),
      allmulti: flags.includes("ALLMULTI"),
      promiscuity,
    };
  };
  const link = () => findLink(ns, "eth0")!;
  const filter = "ipv4/conf/eth0/arp_filter";
  const range = "ipv4/ip_local_port_range";

  beforeEach(async () => {
    node = await makeNode("tuning");
    await node.exec("ip", [
      "link",
      "add",
      "eth0",
      "address",
      "02:00:00:00:00:01",
      "type",
      "veth",
      "peer",
      "name",
      "peer",
    ]);
    ns = openNamespace(node.path("/proc/1/ns/net"));
  });

  afterEach(async () => {
    ns.close();
    await node.close();
  });

  const wanted = { mac: "02:00:00:00:00:02", promisc: true, mtu: 1400, allmulti: true, txQLen: 0 };

  test("attributes are set, compared, and set back", async () => {
    const before = attributesOf(link(), wanted);
    expect(before).toEqual({ mac: "02:00:00:00:00:01", promisc: false, mtu: 1500, allmulti: false, txQLen: 1000 });
    tuneLink(ns, link().index, wanted);
    expect(await show()).toMatchObject({ address: wanted.mac, mtu: 1400, promisc: true, allmulti: true });
    expect((await show()).txqlen ?? 0).toBe(0);
    assertTuned(ns, link(), wanted, {});
    for (const [key, value] of Object.entries({ ...before, mac: "02:00:00:00:00:03", txQLen: 7 })) {
      const error = refusal(() => assertTuned(ns, link(), { ...wanted, [key]: value }, {}));
      expect(error).toEqual({ code: 101, message: expect.stringContaining(key) });
    }
    restore(ns, "eth0", before, {});
    expect(await show()).toEqual({
      ...{ address: "02:00:00:00:00:01", mtu: 1500, txqlen: 1000, promisc: false, allmulti: false, promiscuity: 0 },
    });
  });

  test("what is undefined is left alone", async () => {
    const before = await show();
    tuneLink(ns, link().index, {});
    tuneLink(ns, link().index, { mac: undefined, allmulti: false });
    expect(await show()).toEqual(before);
    expect(attributesOf(link(), { mtu: 1 })).toEqual({ mtu: 1500 });
  });

  test("a refused attribute is named, the others are set", async () => {
    const error = refusal(() => tuneLink(ns, link().index, { mtu: 3, txQLen: 5 }));
    expect(error.message).toContain("mtu 3");
    expect((await show()).txqlen).toBe(5);
    expect(refusal(() => restore(ns, "eth0", { mtu: 3, txQLen: 1000 }, {})).message).toContain("mtu 3");
    expect((await show()).txqlen).toBe(1000);
  });

  test("settings are written in this namespace alone, compared word by word, and written back", async () => {
    const read = async (name: string) => (await node.exec("cat", [`/proc/sys/net/${name}`])).stdout;
    const before = readSettings(ns, [filter, range]);
    expect(before).toEqual({ [filter]: "0", [range]: await read(range) });
    const settings = { [filter]: "1", [range]: "20000 30000" };
    writeSettings(ns, settings);
    expect([await read(filter), await read(range)]).toEqual(["1", "20000\t30000"]);
    assertTuned(ns, link(), {}, settings);
    const error = refusal(() => assertTuned(ns, link(), {}, { [filter]: "0" }));
    expect(error).toEqual({ code: 101, message: expect.stringContaining(filter) });
    restore(ns, "eth0", {}, before);
    expect(readSettings(ns, [filter, range])).toEqual(before);
  });

  test("a setting that is not there or takes no such value is named", () => {
    expect(refusal(() => readSettings(ns, ["ipv4/none"]))).toEqual({
      code: 7,
      message: expect.stringContaining("ipv4/none"),
    });
    expect(refusal(() => writeSettings(ns, { [filter]: "many" }))).toEqual({
      code: 7,
      message: expect.stringMatching(/arp_filter.*many/),
    });
    // Written only: there is nothing to remember, nor to compare.
    expect(readSettings(ns, ["ipv4/route/flush"])).toEqual({});
    writeSettings(ns, { "ipv4/route/flush": "1" });
    assertTuned(ns, link(), {}, { "ipv4/route/flush": "1" });
  });

  test("restoring a link that is gone restores the rest", async () => {
    writeSettings(ns, { [range]: "20000 30000" });
    await node.exec("ip", ["link", "del", "eth0"]);
    restore(ns, "eth0", wanted, { [filter]: "0", [range]: "32768 60999" });
    expect(readSettings(ns, [range])).toEqual({ [range]: "32768\t60999" });
  });
});
