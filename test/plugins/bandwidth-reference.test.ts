// Beside the reference plugin: the same results and kernel objects, and each suite with what the other made.
import { expect, test } from "bun:test";
import { referenceDir } from "../../scripts/reference.ts";
import { makeNode } from "../helpers/node.ts";
import { must, ours } from "../helpers/plugin.ts";
import { base, both, ifbs, noise, plugged, state } from "../helpers/shaping.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";

const reference = referenceDir().dir;

const configurations: [string, Record<string, unknown>][] = [
  ["both directions", both],
  ["what comes in alone", { ingressRate: 1_000_000, ingressBurst: 800_000 }],
  ["what goes out alone", { egressRate: 1_000_000, egressBurst: 800_000 }],
  ["rates that are no whole bytes, of which no whole microseconds come", { ...both, egressRate: 12_345_677 }],
  ["a rate that needs 64 bits", { ...both, ingressRate: 40_000_000_000, ingressBurst: 400_000_000 }],
  [
    "numbers of a conformance test, useless as they are",
    { ingressRate: 8, ingressBurst: 8, egressRate: 16, egressBurst: 8 },
  ],
  [
    "what containerd sends",
    {
      runtimeConfig: {
        bandwidth: { IngressRate: 2e7, IngressBurst: 4294967295, EgressRate: 2e7, EgressBurst: 4294967295 },
      },
    },
  ],
  [
    "a configuration of its own, which beats the runtime's",
    { ...both, runtimeConfig: { bandwidth: { ingressRate: 8 } } },
  ],
  ["keys in another case", { INGRESSRATE: 1_000_000, ingressburst: 800_000 }],
];

for (const [what, limits] of configurations) {
  test(`bandwidth with ${what}: result and kernel state are the reference's, and each suite checks and deletes what the other made`, async () => {
    const seen = [];
    for (const [adds, other] of [
      [reference, ours],
      [ours, reference],
    ] as const) {
      await using node = await makeNode("diff");
      const { at, end, prevResult } = await plugged(node, "pod");
      const before = await snapshot(node);
      const conf = { ...base, ...limits };
      const result = await must(node, "ADD", { ...conf, prevResult }, { ...at, bin: adds });
      for (const { mac } of result.interfaces.slice(2)) expect(mac).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
      const interfaces = result.interfaces.map(({ name, sandbox }: any) => ({ name, sandbox }));
      seen.push({ interfaces, state: await state(node, end) });
      const known = { ...conf, prevResult: result };
      for (const bin of [other, adds]) await must(node, "CHECK", known, { ...at, bin });
      await must(node, "DEL", known, { ...at, bin: other });
      // The reference leaves the pair as it is.
      expect(leftOver(before, await snapshot(node), noise)).toEqual([]);
    }
    expect(seen[1]).toEqual(seen[0]!);
  });
}

test("bandwidth: a burst that the reference cuts to its lower bits is checked by ours on both, and by the reference on its own", async () => {
  await using node = await makeNode("burst");
  const { at, prevResult } = await plugged(node, "pod");
  const conf = { ...base, ingressRate: 10_000_000, ingressBurst: 4294967295 };
  await must(node, "ADD", { ...conf, prevResult }, { ...at, bin: reference });
  await must(node, "CHECK", { ...conf, prevResult }, at);
  const fresh = await plugged(node, "other");
  await must(node, "ADD", { ...conf, prevResult: fresh.prevResult }, fresh.at);
  await must(node, "CHECK", { ...conf, prevResult: fresh.prevResult }, fresh.at);
});

test("bandwidth: two interfaces of one container in one network do not meet, whoever made the first", async () => {
  for (const first of [ours, reference]) {
    await using node = await makeNode("two");
    const one = await plugged(node, "pod");
    const two = await plugged(node, "pod", "net1", one);
    const before = await snapshot(node);
    const conf = { ...base, ...both };
    const results = [
      await must(node, "ADD", { ...conf, prevResult: one.prevResult }, { ...one.at, bin: first }),
      await must(node, "ADD", { ...conf, prevResult: two.prevResult }, two.at),
    ];
    const [a, b] = results.map(({ interfaces }) => interfaces[2].name);
    expect(a).not.toBe(b);
    const checks = [one, two].map(
      ({ at }, i) =>
        () =>
          must(node, "CHECK", { ...conf, prevResult: results[i] }, at),
    );
    for (const check of checks) await check();
    // As containerd's last DEL: nothing but names.
    await must(node, "DEL", conf, { ...two.at, netns: "" });
    expect((await ifbs(node)).map(({ ifname }) => ifname)).toEqual([a]);
    await checks[0]!();
    await must(node, "ADD", { ...conf, prevResult: two.prevResult }, two.at);
    await must(node, "DEL", conf, { ...one.at, netns: "" });
    if (first === ours) {
      expect((await ifbs(node)).map(({ ifname }) => ifname)).toEqual([b]);
      await checks[1]!();
    }
    await must(node, "DEL", conf, { ...two.at, netns: "" });
    await must(node, "DEL", conf, { ...one.at, netns: "" });
    expect(leftOver(before, await snapshot(node), noise)).toEqual([]);
  }
});
