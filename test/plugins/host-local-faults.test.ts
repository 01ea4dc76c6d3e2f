// host-local among many, killed, out of room, and on what a crash left behind.
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addressesOf, must, ours, reference, run, State } from "../helpers/host-local.ts";
import { makeNode } from "../helpers/node.ts";
import { call, errorOf, must as mustIn, soak } from "../helpers/plugin.ts";

/** What may be left in a folder when nothing is reserved. */
const bare = (names: string[]) => names.filter((name) => !/^(lock|last_reserved_ip\.\d+)$/.test(name));

/** A small generator of pseudo-random numbers below `limit`, the same for the same seed. */
function dice(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

describe("host-local from eight processes at once", () => {
  test.each([
    ["alone", [ours]],
    ["with the reference among them", [ours, ours, ours, reference]],
  ])("gives no address twice and loses none, %s", async (what, bins) => {
    using state = new State();
    // 57 addresses of one family for up to 80 attachments, so that the pool is exhausted now and then.
    const conf = state.conf({
      ranges: [[{ subnet: "10.1.2.0/26", exclude: ["10.1.2.40/30"] }], [{ subnet: "2001:db8::/64" }]],
    });
    const operations = soak ? (bins.length === 1 ? 100_000 : 20_000) : 800;
    const owners = new Map<string, string>();
    const refusals = new Map<number, number>();
    let done = 0;
    const worker = async (id: number) => {
      const roll = dice(id + 1);
      const mine = new Map<string, string[]>();
      while (done++ < operations) {
        const attachment = `w${id}c${roll(10)}/eth${roll(2)}`;
        const bin = bins[roll(bins.length)]!;
        const held = mine.get(attachment);
        if (held) {
          for (const address of held) owners.delete(address);
          mine.delete(attachment);
          const { exitCode, stdout } = await run("DEL", conf, attachment, { bin });
          expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: "" });
          continue;
        }
        const { exitCode, json } = await run("ADD", conf, attachment, { bin });
        if (exitCode !== 0) {
          refusals.set(json.code, (refusals.get(json.code) ?? 0) + 1);
          continue;
        }
        const addresses = addressesOf(json);
        expect(addresses).toHaveLength(2);
        for (const address of addresses) {
          expect({ address, holder: owners.get(address) }).toEqual({ address, holder: undefined });
          owners.set(address, attachment);
        }
        mine.set(attachment, addresses);
      }
      return mine;
    };
    const all = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(worker));
    expect(state.reservations().sort()).toEqual([...owners.keys()].sort());
    for (const [address, attachment] of owners) {
      expect(readFileSync(join(state.network, address), "utf8")).toBe(attachment.replace("/", "\r\n"));
    }
    // The reference says 999 to everything; ours only that the pool is exhausted.
    expect([...refusals.keys()].filter((code) => code !== 103 && (what === "alone" || code !== 999))).toEqual([]);
    for (const mine of all) for (const attachment of mine.keys()) await must("DEL", conf, attachment);
    expect(bare(state.names())).toEqual([]);
  });
});

describe("host-local killed at any moment", () => {
  test("leaves whole files only, gives no address twice, and loses none", async () => {
    using state = new State();
    const conf = state.conf({ ranges: [[{ subnet: "10.1.2.0/28" }], [{ subnet: "2001:db8::/124" }]] });
    const roll = dice(7);
    const attachments = Array.from({ length: 20 }, (_, at) => `c${at}`);
    for (let round = 0; round < (soak ? 1000 : 150); round++) {
      const killAfter = roll(100) / 10;
      const verb = roll(5) < 3 ? "ADD" : "DEL";
      await Promise.all([0, 1].map((at) => run(verb, conf, attachments[roll(10) * 2 + at], { killAfter })));
      const files = state.files();
      for (const name of state.reservations()) expect(files[name]).toMatch(/^600 c\d+\r\neth0$/);
      for (const [name, text] of Object.entries(files)) {
        if (name.startsWith("last_")) expect(text).toMatch(/^600 [0-9a-f.:]*$/);
      }
    }
    for (const attachment of attachments) await must("DEL", conf, attachment);
    expect(bare(state.names())).toEqual([]);
    const given = await Promise.all(Array.from({ length: 13 }, (_, at) => must("ADD", conf, `d${at}`)));
    expect(new Set(given.flat()).size).toBe(26);
    expect((await run("ADD", conf, "d13")).json.code).toBe(103);
  });

  test("holding the lock is no hindrance to the next", async () => {
    using state = new State().make();
    const holder = Bun.spawn(["flock", "--no-fork", join(state.network, "lock"), "sleep", "60"], { stdout: "ignore" });
    while (!existsSync(join(state.network, "lock"))) await Bun.sleep(2);
    const conf = state.conf({ subnet: "10.1.2.0/24" });
    await Bun.sleep(30);
    const waiting = must("ADD", conf);
    expect(await Promise.race([waiting, Bun.sleep(100).then(() => "waits")])).toBe("waits");
    holder.kill("SIGKILL");
    expect(await waiting).toEqual(["10.1.2.2"]);
  });
});

describe("host-local without room", () => {
  const conf = {
    cniVersion: "1.1.0",
    name: "net",
    type: "host-local",
    ipam: {
      type: "host-local",
      dataDir: "/run/state",
      ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "2001:db8::/64" }]],
    },
  };

  test.each([
    ["files", "nr_inodes=8"],
    ["bytes", "size=32k"],
  ])("for %s leaves nothing of the ADD that fails", async (_, options) => {
    await using node = await makeNode("full");
    const state = "/run/state/net";
    await node.exec("mkdir", ["-p", "/run/state"]);
    await node.exec("mount", ["-t", "tmpfs", "-o", options, "tmpfs", "/run/state"]);
    const files = async () => (await node.exec("sh", ["-c", `cd ${state} && tail -c +1 * && ls -A`])).stdout;
    let given = 0;
    let error: { code: number; msg: string } | undefined;
    for (; given < 20; given++) {
      const before = given === 0 ? undefined : await files();
      const outcome = await call(node, "ADD", conf, { containerId: `c${given}`, netns: "/run/netns/none" });
      if (outcome.exitCode === 0) continue;
      error = errorOf(outcome);
      expect((await files()).replaceAll(/^(10|2001)[^ ]*$/gm, "")).toBe(before!.replaceAll(/^(10|2001)[^ ]*$/gm, ""));
      const held = async () => (await node.exec("grep", ["-rl", `c${given}`, state], { reject: false })).stdout;
      expect(await held()).toBe("");
      break;
    }
    expect(given).toBeWithin(1, 20);
    expect(error).toMatchObject({ code: 100, msg: expect.stringContaining("no space left on device") });
    await mustIn(node, "DEL", conf, { containerId: "c0" });
    await mustIn(node, "ADD", conf, { containerId: "again", netns: "/run/netns/none" });
    for (let at = 1; at < given; at++) await mustIn(node, "DEL", conf, { containerId: `c${at}` });
    await mustIn(node, "DEL", conf, { containerId: "again" });
    expect(
      (await node.exec("ls", ["-A", state])).stdout
        .split("\n")
        .filter((name) => /[.:]\d+$/.test(name) && !name.startsWith("last")),
    ).toEqual([]);
  });

  test("under /run works as if nothing were remembered", async () => {
    await using node = await makeNode("full-run");
    await node.exec("mkdir", ["-p", "/run/tenon"]);
    await node.exec("mount", ["-t", "tmpfs", "-o", "size=16k", "tmpfs", "/run/tenon"]);
    for (let at = 0; at < 8; at++) {
      const result = await mustIn(node, "ADD", conf, { containerId: `c${at}`, netns: "/run/netns/none" });
      expect(result.ips[0].address).toBe(`10.1.2.${at + 2}/24`);
    }
    for (let at = 0; at < 8; at++) await mustIn(node, "DEL", conf, { containerId: `c${at}` });
    expect((await node.exec("ls", ["/run/state/net"])).stdout.split("\n").sort()).toEqual([
      "last_reserved_ip.0",
      "last_reserved_ip.1",
      "lock",
    ]);
    await node.exec("umount", ["/run/tenon"]);
    await node.exec("mount", ["-t", "tmpfs", "-o", "ro", "tmpfs", "/run/tenon"]);
    await mustIn(node, "ADD", conf, { netns: "/run/netns/none" });
    await mustIn(node, "DEL", conf);
  });
});

describe("host-local on what it finds", () => {
  test("never stumbles over files of any content", async () => {
    using state = new State().make();
    const roll = dice(3);
    const contents = [
      "",
      "\0\0\0\0",
      "\r\n",
      "c1\r\n",
      "\r\neth0",
      "c1\neth0",
      "ÿþ",
      "a b\r\neth0",
      "x".repeat(9000),
      "c2\r\neth0",
    ];
    const names = [
      "10.1.2.3",
      "10.1.2.5",
      "10.1.2.9",
      "::1",
      "last_reserved_ip.0",
      "last_reserved_ip.9",
      ".tenon-draft",
      "lock",
      "notes",
    ];
    const conf = state.conf({ subnet: "10.1.2.0/28" });
    for (let round = 0; round < (soak ? 500 : 40); round++) {
      for (const name of names) if (roll(2)) writeFileSync(join(state.network, name), contents[roll(contents.length)]!);
      const verb = ["ADD", "DEL", "CHECK", "STATUS", "GC"][roll(5)]!;
      const more = { "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] };
      const { exitCode, stdout, json } = await run(verb, { ...conf, ...more }, `c${roll(4)}`);
      if (verb === "ADD" || exitCode !== 0) expect(json).toBeObject();
      else expect(stdout).toBe("");
      if (exitCode !== 0) expect([101, 102, 103]).toContain(json.code);
    }
  });

  test("takes back empty files when the pool is exhausted", async () => {
    using state = new State().make();
    for (let at = 2; at < 7; at++) writeFileSync(join(state.network, `10.1.2.${at}`), at === 4 ? "c\r\neth0" : "");
    const conf = state.conf({ subnet: "10.1.2.0/29" });
    await must("STATUS", conf);
    const { json, stderr } = await run("ADD", conf);
    expect(addressesOf(json)).toEqual(["10.1.2.2"]);
    expect(stderr).toContain("10.1.2.2, 10.1.2.3, 10.1.2.5, 10.1.2.6");
    expect(state.reservations()).toEqual(["10.1.2.2", "10.1.2.4"]);
  });

  test("a file where the folder should be is an error, and for DEL nothing to do", async () => {
    using state = new State();
    mkdirSync(state.dir, { recursive: true });
    writeFileSync(state.network, "");
    const conf = state.conf({ subnet: "10.1.2.0/29" });
    expect((await run("ADD", conf)).json).toMatchObject({ code: 100, msg: expect.stringContaining(state.network) });
    await must("DEL", conf);
  });
});
