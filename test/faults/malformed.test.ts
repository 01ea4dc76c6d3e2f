// Malformed input: configurations, environments and state files, mutated at random from a seed that a failure prints.
// Whatever comes in: one JSON document, exit code 0 or 1, no stack trace, and a refusal changes nothing on the host.
import { expect, test } from "bun:test";
import { makeNode, type Node } from "../helpers/node.ts";
import { call, must, soak } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";

const rounds = soak ? 2500 : 120; // of each of four kinds
const seed = Number(process.env.TENON_SEED ?? Date.now() % 1_000_000_007);

/** mulberry32: a small generator that a seed repeats exactly. */
function generator(state: number) {
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (count: number) => Math.floor(next() * count);
  return { below, pick: <T>(list: readonly T[]): T => list[below(list.length)]! };
}

const conf = {
  cniVersion: "1.1.0",
  name: "malformed",
  type: "bridge",
  bridge: "cni0",
  isGateway: true,
  isDefaultGateway: false,
  forceAddress: false,
  ipMasq: true,
  ipMasqBackend: "nftables",
  masqExempt: ["10.0.0.0/8"],
  mtu: 1400,
  hairpinMode: false,
  promiscMode: false,
  vlan: 0,
  preserveDefaultVlan: false,
  macspoofchk: true,
  portIsolation: false,
  enabledad: false,
  disableContainerInterface: false,
  dns: { nameservers: ["10.1.0.1"], domain: "a", search: ["b"], options: ["c"] },
  runtimeConfig: { mac: "02:00:00:00:00:01", ips: ["10.1.0.7"], ipRanges: [] },
  args: { cni: { mac: "02:00:00:00:00:02", ips: [] } },
  ipam: {
    type: "host-local",
    ranges: [
      [
        {
          subnet: "10.1.0.0/24",
          rangeStart: "10.1.0.5",
          rangeEnd: "10.1.0.250",
          gateway: "10.1.0.1",
          exclude: ["10.1.0.9/32"],
        },
      ],
    ],
    routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1", mtu: 1300, advmss: 1200, priority: 5, table: 254, scope: 0 }],
    resolvConf: "/etc/resolv.conf",
    dataDir: "/var/lib/cni/networks",
  },
};

const odd: unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1,
  1.5,
  4095,
  65536,
  2 ** 32,
  2 ** 53,
  1e300,
  "",
  " ",
  "x",
  "0",
  "1500",
  "10.1.0.300",
  "10.01.0.5",
  "10.1.0.5",
  "10.1.0.0/24",
  "10.1.0.0/33",
  "10.2.0.0/24",
  "fd00::1",
  "fd00::/64",
  "::ffff:10.1.0.5",
  "fe80::1%eth0",
  "::/0",
  "01:00:00:00:00:00",
  "zz:00:00:00:00:00",
  "../../etc/passwd",
  "/dev/zero",
  "/dev/null",
  "/proc/self/mem",
  "a\u0000b",
  "\ud800",
  "ü",
  "a".repeat(300),
  [],
  [[]],
  [[[]]],
  [null],
  {},
  { a: 1 },
  [{}],
  [[{}]],
  { subnet: 5 },
  ["10.1.0.5"],
  ["x"],
  "constructor",
  "__proto__",
];

type Path = (string | number)[];

/** Every place in a document. */
function places(value: unknown, path: Path = []): Path[] {
  const below = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return [
    ...(path.length ? [path] : []),
    ...below.flatMap(([key, one]) => places(one, [...path, Array.isArray(value) ? Number(key) : key])),
  ];
}

function replaced(document: any, path: Path, value: unknown): any {
  const copy = structuredClone(document);
  let at = copy;
  for (const key of path.slice(0, -1)) at = at[key];
  at[path.at(-1)!] = value;
  return copy;
}

/** One outcome, judged for what holds of every one. Returns the error, if it is one. */
function judge(what: string, { exitCode, stdout }: { exitCode: number; stdout: string }): any {
  const about = `seed ${seed}, ${what}: exit code ${exitCode}, ${stdout}`;
  if (exitCode !== 0 && exitCode !== 1) throw new Error(about);
  if (/\.ts:\d|^\s+at /m.test(stdout)) throw new Error(`A stack trace: ${about}`);
  if (exitCode === 0) return undefined;
  const { code, msg, cniVersion } = JSON.parse(stdout);
  if (
    !Number.isInteger(code) ||
    code < 1 ||
    typeof msg !== "string" ||
    !msg.startsWith("Cannot ") ||
    typeof cniVersion !== "string"
  ) {
    throw new Error(`Not an error of ours: ${about}`);
  }
  if (code === 999) throw new Error(`A fault of ours: ${about}`);
  return { code, msg };
}

/** A node with a pod, where the first ADD has made what stays. */
async function prepared() {
  const node = await makeNode("bad");
  const pod = await node.netns("pod");
  await must(node, "ADD", conf, { netns: pod.path });
  await must(node, "DEL", conf, { netns: pod.path });
  return { node, pod };
}

/** Bridges stay, those too whose names a mutation made up. */
async function removeOtherBridges(node: Node) {
  const others = "ip -br link show type bridge | cut -d' ' -f1 | grep -vx cni0";
  await node.exec("sh", ["-c", `${others} | xargs -r -d '\\n' -n1 ip link del`]);
}

const settles = [/\/run\/tenon/, /last_reserved_ip/];

/** After every tenth case, and the last: the host is as it was. */
async function unchanged(node: Node, before: string[], what: string, allowed = settles) {
  expect([`seed ${seed}, ${what}`, leftOver(before, await snapshot(node), allowed)]).toEqual([
    `seed ${seed}, ${what}`,
    [],
  ]);
}

test("configurations with one value replaced: refused by key and value, or served and taken away", async () => {
  const random = generator(seed);
  const { node, pod } = await prepared();
  try {
    const before = await snapshot(node);
    const all = places(conf);
    let refused = 0;
    for (let round = 0; round < rounds; round++) {
      const path = random.pick(all);
      const value = random.pick(odd);
      const changed = replaced(conf, path, value);
      const what = `${path.join(".")} = ${JSON.stringify(value)}`;
      const verb = random.pick(["ADD", "ADD", "ADD", "CHECK", "DEL", "STATUS", "GC"]);
      const outcome = await call(node, verb, changed, { netns: pod.path, type: "bridge" });
      const error = judge(`${verb} with ${what}`, outcome);
      if (error) {
        refused++;
        // What is said of a value names its key, the key of what holds it, or the one that it makes impossible.
        if ([2, 7].includes(error.code) && verb === "ADD") {
          const holds = path.filter((key) => typeof key === "string") as string[];
          const others = ["runtimeConfig.ips", "args.cni.ips", "CNI_ARGS", "ranges", "gateway", "bridge"];
          if (![...holds, ...others].some((key) => error.msg.includes(key)))
            throw new Error(`seed ${seed}: no key of ${what} in: ${error.msg}`);
        }
      }
      if (verb === "ADD" && !error) {
        // Deleted by what made it; a name that differs is a network of its own.
        judge(`DEL with ${what}`, await call(node, "DEL", changed, { netns: pod.path, type: "bridge" }));
        await removeOtherBridges(node);
      }
      if (round % 10 === 9 || round === rounds - 1) {
        // Other networks, bridges and folders that a mutation asked for, and got, are not what a refusal may leave.
        await unchanged(node, before, what, [
          ...settles,
          /\/networks\/[^/]+\/(lock)?$/,
          /nft/,
          /(address|route) .*cni0/,
          /ip_forward/,
          /link .*cni0/,
        ]);
      }
    }
    expect(refused).toBeGreaterThan(rounds / 5);
  } finally {
    await node.close();
  }
});

test("configurations cut and garbled as text", async () => {
  const random = generator(seed + 1);
  const { node, pod } = await prepared();
  try {
    const before = await snapshot(node);
    const text = JSON.stringify(conf);
    const junk = [
      "",
      "{",
      "}",
      "[",
      '"',
      ",",
      ":",
      "null",
      "\\",
      "\u0000",
      "\ufeff",
      "1e999",
      "\n",
      "é",
      "{}".repeat(50),
      '"name":"x",',
    ];
    for (let round = 0; round < rounds; round++) {
      const at = random.below(text.length);
      const garbled = random.pick([
        () => text.slice(0, at),
        () => text.slice(at),
        () => text.slice(0, at) + random.pick(junk) + text.slice(at),
        () => text.slice(0, at) + random.pick(junk) + text.slice(at + random.below(20)),
        () => text + random.pick(junk),
        () => random.pick(junk).repeat(random.below(40)),
      ])();
      const outcome = await call(node, random.pick(["ADD", "CHECK", "STATUS", "GC"]), garbled, {
        netns: pod.path,
        type: "bridge",
      });
      const error = judge(`text ${JSON.stringify(garbled)}`, outcome);
      if (!error) {
        await call(node, "DEL", garbled, { netns: pod.path, type: "bridge" });
        await removeOtherBridges(node);
      }
      if (round % 20 === 19)
        await unchanged(node, before, garbled, [...settles, /^\+ file .*(\/|\/lock)$/, /nft/, /cni0/]);
    }
  } finally {
    await node.close();
  }
});

test("environments with odd values", async () => {
  const random = generator(seed + 2);
  const { node, pod } = await prepared();
  try {
    const before = await snapshot(node);
    const names = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
    const values = [
      "",
      " ",
      "x",
      "..",
      ".",
      "a/b",
      "a:b",
      "a b",
      "a".repeat(16),
      "a".repeat(5000),
      "é".repeat(8),
      "-",
      "/",
      "/dev/null",
      "/etc/passwd",
      "/proc/self/ns/net",
      "/proc/self/ns/mnt",
      "/proc/1/ns/net",
      "/run/netns/none",
      "/run/netns",
      "IP=x",
      "IP=10.1.0.300",
      "MAC=zz",
      "a=b",
      "IgnoreUnknown=1;a=b",
      "a=b=c",
      "=",
      ";",
      "MAC=01:00:00:00:00:00",
      "IP=10.9.9.9",
      "add",
      "ADD ",
      "lo",
      "eth0\n",
      "💥",
      "%s%n",
    ];
    for (let round = 0; round < rounds; round++) {
      const name = random.pick(names);
      const value = random.pick(values);
      const verb = random.pick(["ADD", "ADD", "DEL", "CHECK"]);
      const outcome = await call(node, verb, conf, { netns: pod.path, env: { [name]: value } });
      const error = judge(`${verb} with ${name}=${JSON.stringify(value)}`, outcome);
      if (error?.code === 4 && !error.msg.includes(name)) throw new Error(`seed ${seed}: no ${name} in: ${error.msg}`);
      if (!error && verb === "ADD")
        await must(node, "DEL", conf, { netns: pod.path, env: name === "CNI_COMMAND" ? {} : { [name]: value } });
      if (round % 10 === 9) await unchanged(node, before, `${name}=${value}`);
    }
  } finally {
    await node.close();
  }
});

test("state files of other content and kind", async () => {
  const random = generator(seed + 3);
  const { node, pod } = await prepared();
  try {
    const folder = "/var/lib/cni/networks/malformed";
    const free = { ...conf, runtimeConfig: {} };
    const targets = [
      `${folder}/10.1.0.${5 + random.below(9)}`,
      `${folder}/last_reserved_ip.0`,
      `${folder}/lock`,
      "/run/tenon/host-local/*",
      "/run/tenon/helper",
    ];
    const damages = [
      (file: string) => `: > ${file}`,
      (file: string) => `head -c ${random.below(5000)} /dev/urandom > ${file}`,
      (file: string) => `printf 'c1\\r\\neth0' > ${file}`,
      (file: string) => `printf 'c1' > ${file}`,
      (file: string) => `printf '10.1.0.249' > ${file}`,
      (file: string) => `printf 'fd00::5' > ${file}`,
      (file: string) => `rm -rf ${file}`,
      (file: string) => `rm -rf ${file}; mkdir -p ${file}`,
      (file: string) => `rm -rf ${file}; ln -s /etc/passwd ${file}`,
      (file: string) => `rm -rf ${file}; ln -s loop ${file}`,
      (file: string) => `truncate -s ${random.below(100_000)} ${file}`,
    ];
    for (let round = 0; round < rounds; round++) {
      const damage = random.pick(damages)(random.pick(targets)).replaceAll("*", "x");
      const cache = "f=$(ls -d /run/tenon/host-local/* 2>/dev/null | head -n1)";
      await node.exec("sh", ["-c", `${cache}; ${damage.replaceAll("/run/tenon/host-local/x", '"$f"')} || true`], {
        reject: false,
      });
      const what = `seed ${seed}, ${damage}`;
      const added = judge(`ADD after ${damage}`, await call(node, "ADD", free, { netns: pod.path }));
      for (const verb of ["CHECK", "STATUS"])
        judge(`${verb} after ${damage}`, await call(node, verb, free, { netns: pod.path }));
      judge(`DEL after ${damage}`, await call(node, "DEL", free, { netns: pod.path }));
      const links = (await node.exec("ip", ["-br", "link", "show", "type", "veth"])).stdout;
      expect([what, added?.code, links]).toEqual([what, added?.code, ""]);
      await node.exec("sh", ["-c", `rm -rf ${folder} /run/tenon/host-local`]);
      expect((await node.exec("wc", ["-c", "/etc/passwd"])).stdout).not.toStartWith("0 ");
      // The node serves as before.
      await must(node, "ADD", free, { netns: pod.path });
      await must(node, "DEL", free, { netns: pod.path });
    }
  } finally {
    await node.close();
  }
});
