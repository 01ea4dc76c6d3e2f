// host-local beside the reference's: the same results to the byte, the same files, and both on one folder by turns.
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { type Call, ours, reference, run, State } from "../helpers/host-local.ts";
import { soak } from "../helpers/plugin.ts";

type Step = [verb: string, attachment: string, conf?: object, call?: Call];

const versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const routes = [
  { dst: "0.0.0.0/0", gw: "10.1.2.9" },
  { dst: "2001:db8:7::5/48", mtu: 1400, advmss: 1300, priority: 5, table: 0, scope: 0 },
];
const dual = { ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "2001:db8:1::/64" }]], routes };

/** What can be compared: a result to the byte, of an error only that it is one. */
async function outcome(
  state: State,
  bin: string,
  [verb, attachment, conf = {}, call]: Step,
  ipam: object,
  cniVersion: string,
) {
  const { exitCode, stdout } = await run(verb, state.conf(ipam, { cniVersion, ...conf }), attachment, { ...call, bin });
  return { exitCode, stdout: exitCode === 0 ? stdout : "an error" };
}

/**
 * The files of a folder that are to be the same as another's. The lock is no matter. Nor are pointers after an error:
 * the reference moves on to the next set before it sees that it has to refuse. They are copied from the other then.
 */
function compared(state: State, from?: State, succeeded = true): Record<string, string> {
  for (const [name, text] of Object.entries(from?.files() ?? {})) {
    if (succeeded || !name.startsWith("last_")) continue;
    writeFileSync(join(state.make().network, name), text.slice(4), { mode: 0o600 });
  }
  const { lock, ...files } = state.files();
  return files;
}

/** Plays the steps with both, each on a folder of its own, and compares results and files after each. */
async function compare(
  ipam: object,
  steps: Step[],
  options: { cniVersion?: string; files?: Record<string, string> } = {},
) {
  using one = new State().make();
  using other = new State().make();
  for (const [name, content] of Object.entries(options.files ?? {})) {
    for (const state of [one, other]) writeFileSync(join(state.network, name), content, { mode: 0o600 });
  }
  const seen: string[] = [];
  for (const step of steps) {
    const cniVersion = options.cniVersion ?? "1.1.0";
    const mine = await outcome(one, ours, step, ipam, cniVersion);
    expect({ step, ...mine }).toEqual({ step, ...(await outcome(other, reference, step, ipam, cniVersion)) });
    expect({ step, ...compared(one, other, mine.exitCode === 0) }).toEqual({ step, ...compared(other) });
    seen.push(mine.exitCode === 0 ? "ok" : "error");
  }
  return seen;
}

describe("host-local and the reference agree", () => {
  test.each(versions)("in version %s", async (cniVersion) => {
    const steps: Step[] = [
      ["ADD", "a"],
      ["ADD", "a/eth1"],
      ["ADD", "a"],
      ["DEL", "a"],
      ["DEL", "a"],
      ["ADD", "b"],
      ["DEL", "none"],
    ];
    const seen = await compare(dual, steps, { cniVersion });
    expect(seen).toEqual(["ok", "ok", "error", "ok", "ok", "ok", "ok"]);
  });

  test("on CHECK", async () => {
    const steps: Step[] = [
      ["CHECK", "a"],
      ["ADD", "a"],
      ["CHECK", "a"],
      ["CHECK", "a/eth1"],
      ["DEL", "a"],
      ["CHECK", "a"],
    ];
    expect(await compare(dual, steps)).toEqual(["error", "ok", "ok", "error", "ok", "error"]);
  });

  test("on the old form of reservations", async () => {
    const files = { "10.1.2.2": "a", "10.1.2.3": " b \n", "10.1.2.4": "c\r\neth0\r\n", "2001:db8:1::2": "a" };
    const steps: Step[] = [
      ["ADD", "a"],
      ["CHECK", "a/eth7"],
      ["ADD", "b"],
      ["DEL", "a"],
      ["DEL", "b"],
      ["DEL", "c"],
      ["ADD", "a"],
    ];
    expect(await compare(dual, steps, { files })).toEqual(["error", "ok", "error", "ok", "ok", "ok", "ok"]);
  });

  test("on what the last address was, and where it leads", async () => {
    const pool = {
      ranges: [
        [
          { subnet: "10.1.2.0/29", rangeStart: "10.1.2.3", rangeEnd: "10.1.2.5" },
          { subnet: "10.1.4.0/29", gateway: "10.1.4.3" },
        ],
      ],
    };
    for (const last of [
      "10.1.2.3",
      "10.1.2.5",
      "10.1.4.2",
      "10.1.4.6",
      "10.1.2.6",
      "10.9.9.9",
      "",
      "rubbish",
      "10.1.2.3\n",
    ]) {
      const steps: Step[] = [
        ["ADD", "a"],
        ["ADD", "b"],
        ["DEL", "a"],
        ["ADD", "c"],
      ];
      await compare(pool, steps, {
        files: { "last_reserved_ip.0": last, "10.1.4.1": "x\r\neth0", "10.1.2.4": "x\r\neth0" },
      });
    }
  });

  test("on requested addresses, by every channel", async () => {
    const ask = (attachment: string, text: string): Step => [
      "ADD",
      attachment,
      {},
      { args: `IgnoreUnknown=1;A=b;IP=${text}` },
    ];
    const steps: Step[] = [
      ask("a", "10.1.2.77"),
      ask("b", "10.1.2.77"),
      ask("b", "10.1.2.78/24"),
      ask("c", "10.1.2.1"),
      ask("c", "10.9.9.9"),
      ask("c", "2001:db8:1::77"),
      ["ADD", "d", { args: { cni: { ips: ["10.1.2.90", "2001:db8:1::90/64"] } } }],
      ["ADD", "e", { runtimeConfig: { ips: ["10.1.2.91"] } }],
      ["ADD", "f", { runtimeConfig: { ips: ["10.1.2.92"] }, args: { cni: { ips: ["2001:db8:1::92"] } } }],
      ["ADD", "g"],
      ["DEL", "b"],
      ["ADD", "h", {}, { args: "NoSuch=1" }],
    ];
    const seen = await compare({ ...dual, resolvConf: "/etc/resolv.conf" }, steps);
    expect(seen.filter((each) => each === "ok")).toHaveLength(8);
    // Asked for by address an attachment gets a second one.
    const again = [ask("b", "10.1.2.78"), ask("b", "10.1.2.79"), ["DEL", "b"] as Step];
    expect(await compare({ subnet: "10.1.2.0/24" }, again)).toEqual(["ok", "ok", "ok"]);
  });

  test("on the order of range sets, and on their exhaustion", async () => {
    const runtimeConfig = { ipRanges: [[{ subnet: "10.0.0.0/30" }]] };
    const ipam = {
      subnet: "10.2.0.0/24",
      rangeStart: "10.2.0.250",
      gateway: "10.2.0.252",
      ranges: [[{ subnet: "10.3.0.0/16" }]],
    };
    const steps: Step[] = [
      ["ADD", "a", { runtimeConfig }],
      ["ADD", "b"],
      ["DEL", "a"],
      ["ADD", "c", { runtimeConfig }],
    ];
    expect(await compare(ipam, [...steps, ["DEL", "a"], ["DEL", "b"]])).toEqual(["ok", "ok", "ok", "ok", "ok", "ok"]);
    const small = { subnet: "192.0.2.0/29" };
    const adds = [1, 2, 3, 4, 5, 6].map((id): Step => ["ADD", `c${id}`]);
    expect(await compare(small, [...adds, ["DEL", "c2"], ["ADD", "c7"]])).toEqual([
      ...["ok", "ok", "ok", "ok", "ok", "error"],
      ...["ok", "ok"],
    ]);
  });

  test("on keys in other cases and on null", async () => {
    const ipam = { RANGES: [[{ Subnet: "10.1.2.0/24", rangestart: "10.1.2.20", gateway: null }]], Routes: null };
    expect(
      await compare(ipam, [
        ["ADD", "a"],
        ["DEL", "a"],
      ]),
    ).toEqual(["ok", "ok"]);
  });

  test("that these configurations are none", async () => {
    const range = { subnet: "10.1.2.0/24" };
    const bad: object[] = [
      {},
      { subnet: "10.1.2.0/31" },
      { subnet: "10.1.2.1/24" },
      { subnet: "10.1.2.0" },
      { ...range, rangeStart: "10.1.3.1" },
      { ...range, rangeEnd: "10.1.3.1" },
      { ...range, rangeStart: "10.1.2.9", rangeEnd: "10.1.2.8" },
      { ...range, rangeStart: "10.1.2.01" },
      { ranges: [[range, range]] },
      { ranges: [[range], [{ subnet: "10.1.0.0/16" }]] },
      { ranges: [[range, { subnet: "2001:db8::/64" }]] },
      { ranges: [[]] },
      { ...range, resolvConf: "/none" },
      { ...range, routes: [{ dst: "10.1.2.0" }] },
    ];
    for (const ipam of bad)
      expect({ ipam, seen: await compare(ipam, [["ADD", "a"]]) }).toEqual({ ipam, seen: ["error"] });
  });
});

describe("host-local takes over from the reference and hands over to it", () => {
  const attachment = fc.tuple(fc.nat(5), fc.nat(1)).map(([id, link]) => `c${id}/eth${link}`);
  const asked = fc.option(fc.nat(15), { freq: 4 });
  const verb = fc.constantFrom("ADD", "ADD", "ADD", "DEL", "DEL", "CHECK");
  const step = fc.record({ verb, attachment, asked, mine: fc.boolean() });
  const pools = fc.constantFrom<object>(
    { subnet: "192.0.2.0/29" },
    { ranges: [[{ subnet: "192.0.2.0/28", rangeEnd: "192.0.2.9" }], [{ subnet: "2001:db8::/64" }]] },
    { ranges: [[{ subnet: "192.0.2.0/30" }, { subnet: "192.0.2.8/29", gateway: "192.0.2.12" }]] },
  );

  test("at any moment: no sequence of verbs shows which of them ran", async () => {
    await fc.assert(
      fc.asyncProperty(
        pools,
        fc.array(step, { minLength: 1, maxLength: soak ? 60 : 24, size: "max" }),
        async (ipam, steps) => {
          using mixed = new State();
          using pure = new State();
          for (const { verb, attachment, asked, mine } of steps) {
            const call = { args: verb === "ADD" && asked !== null ? `IP=192.0.2.${asked}` : "" };
            // Neither the network's nor the broadcast address, nor a second address that the next set then refuses (the
            // reference gives back the first one too): there we differ, and mean to.
            if (asked !== null && ([0, 3, 7, 8, 15].includes(asked) || holds(pure, attachment))) continue;
            const one = await outcome(mixed, mine ? ours : reference, [verb, attachment, {}, call], ipam, "1.0.0");
            const other = await outcome(pure, reference, [verb, attachment, {}, call], ipam, "1.0.0");
            expect({ attachment, ...one }).toEqual({ attachment, ...other });
            expect({ attachment, ...compared(mixed, pure, one.exitCode === 0) }).toEqual({
              attachment,
              ...compared(pure),
            });
          }
        },
      ),
      { numRuns: soak ? 200 : 12 },
    );
  });

  const holds = (state: State, attachment: string) =>
    Object.values(state.files()).some((text) => text.endsWith(` ${attachment.replace("/", "\r\n")}`));
});
