// Each test in a node of its own, read back with nft; frames go between pods on one bridge.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type CniError, codes } from "../../../lib/cni/errors.ts";
import { labelOf } from "../../../lib/cni/identity.ts";
import {
  checkSpoofCheck,
  ensureSpoofCheck,
  removeSpoofCheck,
  type SpoofCheck,
  sweepSpoofCheck,
} from "../../../lib/ip/spoof-check.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;

beforeEach(async () => {
  node = await makeNode("spoof");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});

afterEach(async () => {
  ns.close();
  await node.close();
});

const guard = (last: number, network = "podnet"): SpoofCheck => ({
  label: labelOf(network, `container${last}`, "eth0"),
  port: `port${last}`,
  mac: `02:00:00:00:00:0${last}`,
});

/** What nft lists: tables, and by set its elements with their comments. */
async function ruleset() {
  const { stdout } = await node.exec("nft", ["-j", "list", "ruleset"]);
  const all: any[] = JSON.parse(stdout).nftables;
  const elements = (set: any) =>
    (set.elem ?? [])
      .map(({ elem: { val, comment } }: any) => `${typeof val === "string" ? val : val.concat.join(" ")} ${comment}`)
      .sort();
  return {
    tables: all.flatMap(({ table }) => (table ? `${table.family} ${table.name}` : [])),
    chains: all.flatMap(({ chain }) => (chain ? `${chain.name} ${chain.type} ${chain.hook} ${chain.prio}` : [])),
    rules: all.flatMap(({ rule }) => (rule ? rule.comment : [])),
    dropped: all.flatMap(({ rule }) => rule?.expr.find((one: any) => one.counter)?.counter.packets ?? [])[0] as number,
    sets: Object.fromEntries(all.flatMap(({ set }) => (set ? [[set.name, elements(set)]] : []))),
  };
}

describe("the state", () => {
  test("ensure makes one table, chain and rule, and an element in each set", async () => {
    for (const last of [1, 2, 2]) ensureSpoofCheck(ns, guard(last));
    expect(await ruleset()).toEqual({
      tables: ["bridge tenon"],
      chains: ["prerouting filter prerouting -300"],
      rules: ["spoof-check"],
      dropped: 0,
      sets: {
        "spoof/ports": ["port1 podnet/container1/eth0", "port2 podnet/container2/eth0"],
        "spoof/macs": [
          "port1 02:00:00:00:00:01 podnet/container1/eth0",
          "port2 02:00:00:00:00:02 podnet/container2/eth0",
        ],
      },
    });
    const { stdout } = await node.exec("nft", ["list", "chain", "bridge", "tenon", "prerouting"]);
    expect(stdout).toContain(
      "iifname @spoof/ports iifname . ether saddr != @spoof/macs counter packets 0 bytes 0 drop comment",
    );
  });

  test("another MAC for a port takes the place of the old one", async () => {
    ensureSpoofCheck(ns, guard(1));
    ensureSpoofCheck(ns, guard(2));
    ensureSpoofCheck(ns, { ...guard(1), mac: "02:00:00:00:00:99" });
    expect((await ruleset()).sets["spoof/macs"]).toEqual([
      "port1 02:00:00:00:00:99 podnet/container1/eth0",
      "port2 02:00:00:00:00:02 podnet/container2/eth0",
    ]);
  });

  test("a port that another attachment left is taken over", async () => {
    ensureSpoofCheck(ns, { ...guard(1), label: "podnet/gone/eth0", mac: "02:00:00:00:00:99" });
    ensureSpoofCheck(ns, guard(1));
    expect((await ruleset()).sets).toEqual({
      "spoof/ports": ["port1 podnet/container1/eth0"],
      "spoof/macs": ["port1 02:00:00:00:00:01 podnet/container1/eth0"],
    });
  });

  test("a MAC is the same in any case of its letters", async () => {
    ensureSpoofCheck(ns, { ...guard(1), mac: "02:AB:cd:00:00:01" });
    ensureSpoofCheck(ns, { ...guard(1), mac: "02:ab:CD:00:00:01" });
    checkSpoofCheck(ns, { ...guard(1), mac: "02:ab:cd:00:00:01" });
    expect((await ruleset()).sets["spoof/macs"]).toHaveLength(1);
  });

  test.each([
    ["label, port and MAC", (one: SpoofCheck) => one],
    ["label and port", ({ label, port }: SpoofCheck) => ({ label, port })],
    ["label", ({ label }: SpoofCheck) => ({ label })],
  ])("remove by %s takes the attachment's elements and no others, once or twice", async (_, known) => {
    ensureSpoofCheck(ns, guard(1));
    ensureSpoofCheck(ns, guard(2));
    for (let time = 0; time < 2; time++) {
      removeSpoofCheck(ns, known(guard(1)));
      expect((await ruleset()).sets).toEqual({
        "spoof/ports": ["port2 podnet/container2/eth0"],
        "spoof/macs": ["port2 02:00:00:00:00:02 podnet/container2/eth0"],
      });
    }
    removeSpoofCheck(ns, known({ ...guard(2), label: "podnet/old/eth0" }));
    checkSpoofCheck(ns, guard(2));
  });

  test("remove and sweep where nothing was ever guarded make nothing", async () => {
    const { label, port, mac } = guard(1);
    for (const known of [{ label }, { label, port }, { label, port, mac }]) removeSpoofCheck(ns, known);
    sweepSpoofCheck(ns, { network: "podnet", keep: new Set() });
    expect((await ruleset()).tables).toEqual([]);
  });

  test("check passes after ensure, and names what is missing after it was taken away", async () => {
    const complaint = () => {
      try {
        checkSpoofCheck(ns, guard(1));
      } catch (error) {
        expect((error as CniError).code).toBe(codes.checkFailed);
        return (error as Error).message;
      }
      return "";
    };
    expect(complaint()).toContain('port "port1"');
    ensureSpoofCheck(ns, guard(1));
    expect(complaint()).toBe("");
    await node.exec("nft", ["flush", "chain", "bridge", "tenon", "prerouting"]);
    expect(complaint()).toContain("rule");
    await node.exec("nft", ["flush", "set", "bridge", "tenon", "spoof/macs"]);
    expect(complaint()).toContain("MAC 02:00:00:00:00:01");
    await node.exec("nft", ["flush", "ruleset"]);
    ensureSpoofCheck(ns, guard(1));
    expect(complaint()).toBe("");
  });

  test("sweep removes what is not kept in its own network, and the table with the last port", async () => {
    for (const last of [1, 2]) ensureSpoofCheck(ns, guard(last));
    ensureSpoofCheck(ns, guard(3, "other"));
    sweepSpoofCheck(ns, { network: "podnet", keep: new Set([guard(2).label]) });
    expect((await ruleset()).sets["spoof/ports"]).toEqual([
      "port2 podnet/container2/eth0",
      "port3 other/container3/eth0",
    ]);
    sweepSpoofCheck(ns, { network: "podnet", keep: new Set() });
    expect((await ruleset()).tables).toEqual(["bridge tenon"]);
    sweepSpoofCheck(ns, { network: "other", keep: new Set() });
    expect((await ruleset()).tables).toEqual([]);
  });

  test("sweep leaves the table if something else is in it", async () => {
    ensureSpoofCheck(ns, guard(1));
    await node.exec("nft", ["add", "chain", "bridge", "tenon", "forward"]);
    sweepSpoofCheck(ns, { network: "podnet", keep: new Set() });
    const { tables, sets } = await ruleset();
    expect({ tables, sets }).toEqual({ tables: ["bridge tenon"], sets: { "spoof/ports": [], "spoof/macs": [] } });
  });

  test.each([
    [{ port: "a-name-that-is-too-long" }, RangeError],
    [{ port: "" }, RangeError],
    [{ mac: "02:00" }, TypeError],
  ])("%j is refused before anything is sent", async (wrong, kind) => {
    expect(() => ensureSpoofCheck(ns, { ...guard(1), ...wrong })).toThrow(kind as any);
    expect((await ruleset()).tables).toEqual([]);
  });
});

describe("frames", () => {
  const setup = `
    ip link add br0 type bridge
    ip link set br0 up
    for last in 1 2 3; do
      ip netns add pod$last
      ip link add port$last type veth peer name eth0 address 02:00:00:00:00:0$last netns pod$last
      ip link set port$last master br0 up
      ip -n pod$last addr add 10.1.0.$last/24 dev eth0
      ip -n pod$last addr add fd00:1::$last/64 dev eth0 nodad
      ip -n pod$last link set eth0 up
    done
    for last in 1 2 3; do
      for try in $(seq 150); do [ "$(cat /sys/class/net/port$last/operstate)" = up ] && break; sleep 0.02; done
    done
  `;
  beforeEach(async () => {
    await node.exec("bash", ["-ec", setup]);
  });

  /** Whether an answer comes within so many tries of one second. */
  async function reaches(from: number, address: string, tries: number): Promise<boolean> {
    const script = "for try in $(seq $0); do ping -c1 -W1 $1 && exit; done; exit 1";
    const pod = node.execAt(`/run/netns/pod${from}`);
    return (await pod("sh", ["-c", script, `${tries}`, address], { reject: false })).exitCode === 0;
  }

  const forge = (last: number, mac: string) =>
    node.exec("ip", ["-n", `pod${last}`, "link", "set", "eth0", "address", mac]);

  test("a guarded port takes its pod's frames and drops forged ones; others take any", async () => {
    ensureSpoofCheck(ns, guard(1));
    ensureSpoofCheck(ns, guard(2));
    expect(await reaches(1, "10.1.0.2", 5)).toBe(true);
    expect(await reaches(1, "fd00:1::2", 5)).toBe(true);
    const before = (await ruleset()).dropped;
    await forge(1, "02:00:00:00:00:02"); // another pod's, allowed there and not here
    expect(await reaches(1, "10.1.0.3", 1)).toBe(false);
    await forge(1, "02:00:00:00:00:77");
    expect(await reaches(1, "fd00:1::2", 1)).toBe(false);
    const after = (await ruleset()).dropped;
    expect(after).toBeGreaterThan(before);
    await forge(3, "02:00:00:00:00:78"); // not guarded
    expect(await reaches(3, "10.1.0.2", 5)).toBe(true);
    await forge(1, guard(1).mac);
    expect(await reaches(1, "10.1.0.2", 5)).toBe(true);
    checkSpoofCheck(ns, guard(1)); // whatever the counter says
    ensureSpoofCheck(ns, guard(3));
    expect((await ruleset()).rules).toHaveLength(1);
  });

  test("after remove a port takes any frames", async () => {
    ensureSpoofCheck(ns, guard(1));
    await forge(1, "02:00:00:00:00:77");
    expect(await reaches(1, "10.1.0.2", 1)).toBe(false);
    removeSpoofCheck(ns, guard(1));
    expect(await reaches(1, "10.1.0.2", 5)).toBe(true);
  });
});
