// The firewall beside the reference: results, rules and what happens to packets, each suite in a node of its own.
import { expect, test } from "bun:test";
import { referenceDir } from "../../scripts/reference.ts";
import { answers, attach, before, bridge, firewall, saved } from "../helpers/firewall.ts";
import { makeNode, type Node, uplink } from "../helpers/node.ts";
import { must, ours, soak } from "../helpers/plugin.ts";

const reference = referenceDir().dir;

for (const cniVersion of ["0.4.0", "1.0.0", "1.1.0"]) {
  test(`firewall hands on what it got, as the reference, ${cniVersion}`, async () => {
    await using node = await makeNode("result");
    const pod = await node.netns("pod");
    const prevResult = structuredClone(before) as any;
    if (cniVersion === "0.4.0") for (const ip of prevResult.ips) ip.version = ip.address.includes(":") ? "6" : "4";
    const conf = { ...firewall, cniVersion, prevResult };
    const [theirs, mine] = [
      await must(node, "ADD", conf, { netns: pod.path, bin: reference }),
      await must(node, "ADD", conf, { netns: pod.path }),
    ];
    expect(mine).toEqual(theirs);
    expect(mine).toMatchObject(prevResult);
  });
}

// A from net1 on cni1, B on the same; C of net2 on cni2; D of net3 on cni3, where the policy is open.
async function matrix(bin: string, policy: string, frames: "0" | "1", drop: boolean): Promise<Record<string, boolean>> {
  await using node = await makeNode("matrix", { uplink: true });
  if (drop) for (const program of ["iptables", "ip6tables"]) await node.exec(program, ["-P", "FORWARD", "DROP"]);
  await node.exec("sysctl", [
    "-qw",
    `net.bridge.bridge-nf-call-iptables=${frames}`,
    `net.bridge.bridge-nf-call-ip6tables=${frames}`,
  ]);
  const nets = [1, 2, 3].map((at) => bridge(`net${at}`, `cni${at}`, [`10.${at}.0.0/16`, `fd00:${at}::/64`]));
  const [one, two, three] = nets;
  const pods = [
    await attach(node, "a", one, { ingressPolicy: policy }, bin),
    ...(await Promise.all([
      attach(node, "b", one, { ingressPolicy: policy }, bin),
      attach(node, "c", two, { ingressPolicy: policy }, bin),
      attach(node, "d", three, {}, bin),
    ])),
  ];
  for (const at of [1, 2, 3]) {
    await node.outside!.exec("ip", ["route", "add", `10.${at}.0.0/16`, "via", uplink.node[0]]);
    await node.outside!.exec("ip", ["route", "add", `fd00:${at}::/64`, "via", uplink.node[1]]);
  }
  const ends: Record<string, readonly string[]> = { outside: uplink.outside };
  for (const { name, addresses } of pods) ends[name] = addresses;
  const origins: Record<string, { exec: Node["exec"] }> = { outside: node.outside!, host: node };
  for (const { name, netns } of pods) origins[name] = netns;
  // A new link's first packets may be lost, so each pod is asked until it answers: to the host that is always allowed.
  const all = pods.flatMap(({ addresses }) => addresses);
  const tries =
    'for address; do for try in 1 2 3 4 5 6 7 8; do ping -c1 -W0.5 "$address" > /dev/null && break; done & done; wait';
  await node.exec("sh", ["-c", tries, "sh", ...all, ...uplink.outside]);
  await node.outside!.exec("sh", ["-c", tries, "sh", ...uplink.node]);
  const seen: Record<string, boolean> = {};
  const asking = Object.entries(origins).map(async ([name, from]) => {
    const others = Object.keys(ends).filter((other) => other !== name);
    const targets = others.flatMap((other) => ends[other]!);
    if (name !== "host") targets.push("10.1.0.1", "fd00:2::1", uplink.node[0]);
    const answering = await answers(from, targets);
    for (const target of targets) {
      const other = others.find((one) => ends[one]!.includes(target)) ?? "host";
      seen[`${name} ${other} ${target}`] = answering.includes(target);
    }
  });
  await Promise.all(asking);
  return seen;
}

const cases: [policy: string, frames: "0" | "1", drop: boolean][] = [
  ["open", "1", false],
  ["open", "1", true],
  ["same-bridge", "1", false],
  ["isolated", "1", true],
  ["isolated", "0", false],
];
if (soak)
  cases.push(["open", "0", false], ["same-bridge", "1", true], ["same-bridge", "0", false], ["isolated", "1", false]);

for (const [policy, frames, drop] of cases) {
  const where = `${frames === "1" ? "with" : "without"} bridge-nf-call-iptables${drop ? ", FORWARD drops" : ""}`;
  test(`firewall ${policy}: who reaches whom is as with the reference, ${where}`, async () => {
    const seen = await Promise.all([matrix(reference, policy, frames, drop), matrix(ours, policy, frames, drop)]);
    expect(seen[1]).toEqual(seen[0]);
    // The matrix tells policies apart at all.
    expect(seen[1]).toMatchObject({
      "a c 10.2.0.2": policy === "open",
      "a c fd00:2::2": policy === "open",
      "a b 10.1.0.3": frames === "0" || policy !== "isolated",
      [`a outside ${uplink.outside[0]}`]: true,
      "outside a fd00:1::2": !drop,
      "host a 10.1.0.2": true,
    });
  });
}

for (const [what, prepare, more] of [
  ["FORWARD drops", "iptables -P FORWARD DROP; ip6tables -P FORWARD DROP", {}],
  [
    "FORWARD ends in REJECT",
    "iptables -A FORWARD -j REJECT; ip6tables -A FORWARD -m comment --comment end -j DROP",
    {},
  ],
  ["it is asked for", "true", { backend: "iptables", iptablesAdminChainName: "SITE-ADMIN" }],
] as const) {
  test(`firewall writes the reference's rules into iptables where ${what}, and each suite checks and deletes the other's`, async () => {
    const seen = [];
    for (const [adds, other] of [
      [reference, ours],
      [ours, reference],
    ] as const) {
      await using node = await makeNode("cross");
      await node.exec("sh", ["-c", prepare]);
      const start = await saved(node);
      const { netns, result, conf, name } = await attach(node, "a", bridge("net", "cni0"), more, adds);
      const at = { netns: netns.path, containerId: name };
      const theirs = await saved(node);
      const known = { ...conf, prevResult: result };
      for (const bin of [adds, other]) await must(node, "CHECK", known, { ...at, bin });
      for (const bin of [adds, other]) await must(node, "ADD", known, { ...at, bin }); // once more changes nothing
      expect(await saved(node)).toEqual(theirs);
      await must(node, "DEL", known, { ...at, bin: other });
      const left = await saved(node);
      expect(
        left.filter((line) => !start.includes(line)).every((line) => /^-A (FORWARD|CNI-FORWARD) -m comment/.test(line)),
      ).toBe(true);
      // Nobody but ours takes what is in its own table.
      await must(node, "DEL", { ...conf, prevResult: undefined }, { containerId: name });
      expect((await node.exec("nft", ["list", "ruleset"])).stdout).not.toContain("net/a/eth0");
      seen.push(theirs);
    }
    expect(seen[1]!.toSorted()).toEqual(seen[0]!.toSorted());
    expect(seen[1]!.join()).toContain("-s 10.1.0.2/32 -j ACCEPT");
  });
}
