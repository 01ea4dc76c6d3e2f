// The agent's configuration, /etc/tenon/agent.yaml. One mistake is told of at a time, by its key and its value.
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { parse } from "yaml";
import { z } from "zod";
import { quote } from "../../lib/cni/errors.ts";
import { equalBytes, networkOf, parseCidr, parseIp } from "../../lib/netlink/inet.ts";

const path = z.string().refine((text) => text.startsWith("/"), "must be an absolute path");
const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, "must begin with a letter or digit and go on with those, _ . -");
/** Seconds that a timer can count: one of more would end at once. */
const LONGEST = 2_147_483;
const seconds = (least: number, most = LONGEST) => z.number().min(least).max(most);
const address = z.string().refine((text) => parseIp(text) !== undefined, "must be an IP address");
const network = z.string().refine((text) => {
  const cidr = parseCidr(text);
  return cidr !== undefined && equalBytes(networkOf(cidr), cidr.ip);
}, "must be a network, as 10.244.0.0/16");

/** Whether a host of etcd is an IP address, which the runtime's TLS does not look for in certificates. */
function isAddress(host: string): boolean {
  const text = host.replace(/^https:\/\//, "").replace(/:\d+$/, "");
  return parseIp(text.replace(/^\[|\]$/g, "")) !== undefined;
}

/** A range of the cluster, and how long the prefixes are that nodes get of it. */
const range = z.strictObject({ cidr: network, size: z.int().min(1).max(128) }).refine(({ cidr, size }) => {
  const { ip, prefix } = parseCidr(cidr) ?? { ip: [], prefix: 0 };
  return size >= prefix && size <= ip.length * 8 - 2 && size - prefix <= 32;
}, "size must be longer than the network's prefix, by 32 at most, and leave two bits for pods");

const etcd = {
  hosts: z.array(z.string().min(1)).min(1),
  tls: z
    .strictObject({
      ca: path,
      cert: path.optional(),
      key: path.optional(),
      // A name that the servers' certificates have, in the place of the hosts' own.
      serverName: z.string().min(1).optional(),
    })
    .refine(({ cert, key }) => (cert === undefined) === (key === undefined), "must have both cert and key, or neither")
    .optional(),
  user: z.string().min(1).optional(),
  passwordFile: path.optional(),
  // Long, as this is how long a node may be cut off before the others take its routes away.
  lease: seconds(2, Number.MAX_SAFE_INTEGER).default(86400),
  // Nodes of a server that lost its data are waited for, three times as long.
  heartbeat: seconds(0.1, Math.floor(LONGEST / 3)).default(30),
};

/** A lease that one lost heartbeat ends has the node come and go. */
const outlasting: z.core.CheckFn<{ lease: number; heartbeat: number }> = ({ value, issues }) => {
  const { lease, heartbeat } = value;
  if (lease >= 3 * heartbeat) return;
  const message = `must be three times the heartbeat of ${heartbeat} seconds, or more`;
  issues.push({ code: "custom", path: ["lease"], message, input: value });
};

const source = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("file"), path }),
  z
    .strictObject({ type: z.literal("etcd"), ...etcd, prefix: z.string().startsWith("/").default("/tenon") })
    .check(outlasting),
  z
    .strictObject({
      type: z.literal("flannel"),
      ...etcd,
      prefix: z.string().startsWith("/").default("/coreos.com/network"),
      subnetFile: path.default("/run/flannel/subnet.env"),
    })
    .check(outlasting),
]);

const oneNetwork = z
  .strictObject({
    name,
    source,
    cluster: z.array(range).max(2).default([]),
    addresses: z.array(address).default([]),
    underlay: z.string().min(1).optional(),
    conflist: z.strictObject({
      template: path,
      to: path.refine((text) => text.endsWith(".conflist"), "must end in .conflist"),
    }),
  })
  .refine(
    ({ source }) => source.type === "file" || !source.tls || source.tls.serverName || !source.hosts.some(isAddress),
    {
      path: ["source", "tls", "serverName"],
      message: "must be a name in the servers' certificates, where hosts are addresses",
    },
  )
  .refine(({ source: { type }, cluster }) => type !== "etcd" || cluster.length > 0, {
    path: ["cluster"],
    message: "must hold the ranges that nodes claim their subnets of",
  });

const runtime = z
  .strictObject({
    name: z.string().min(1),
    cache: path.default("/var/lib/cni/results"),
    // Of its CRI service.
    socket: path.optional(),
    // Of podman.
    storage: path.optional(),
  })
  .refine(
    ({ socket, storage }) => (socket === undefined) !== (storage === undefined),
    "must have a socket or a storage to be asked by, and not both",
  );

const settings = z.strictObject({
  node: name.default(() => hostname()),
  state: path.default("/var/lib/tenon/agent"),
  metrics: z
    .string()
    .regex(/^$|^(\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d+$/, "must be ADDRESS:PORT, or empty for none")
    .default("127.0.0.1:9811"),
  // Where the runtimes' libraries remember attachments: read to repair what others take away, and for the sweep.
  results: z.array(path).min(1).default(["/var/lib/cni/results"]),
  // Folders of the plugins that take down what is left of attachments.
  plugins: z.array(path).min(1).default(["/opt/cni/bin"]),
  // Who the sweep asks which pods there are; without, the usual runtimes that are here.
  runtimes: z.array(runtime).min(1).optional(),
  // A table of nftables that is owned by the agent and keeps connections translated while rules are missing.
  anchor: z.boolean().default(true),
  intervals: z
    .strictObject({
      // Seconds between two comparisons of everything with the kernel.
      compare: seconds(1).default(300),
      // Seconds between two looks for attachments of pods that are gone; 0: none.
      sweep: seconds(0).default(900),
      // News that come faster than this are taken together.
      settle: seconds(0).default(0.05),
    })
    .prefault({}),
  networks: z
    .array(oneNetwork)
    .min(1)
    .refine((all) => new Set(all.map((one) => one.name)).size === all.length, "must have names unlike each other")
    .refine(
      (all) => new Set(all.map((one) => one.conflist.to)).size === all.length,
      "must have conflists of their own",
    ),
});

export type Settings = z.infer<typeof settings>;
export type NetworkSettings = z.infer<typeof oneNetwork>;
export type SourceSettings = z.infer<typeof source>;
export type EtcdSettings = Exclude<SourceSettings, { type: "file" }>;
export type Range = z.infer<typeof range>;

/** Reads the text of a configuration. Throws one mistake, its key and value named. */
export function readSettings(text: string, file: string): Settings {
  let raw: unknown;
  try {
    raw = parse(text);
  } catch (error) {
    throw new Error(`Cannot read "${file}": ${(error as Error).message.split("\n")[0]}`, { cause: error });
  }
  const { success, data, error } = settings.safeParse(raw ?? {});
  if (success) return data;
  throw new Error(`${mistake(error.issues[0]!, raw)} (in "${file}")`);
}

/** Reads the file of a configuration. */
export async function loadSettings(file: string): Promise<Settings> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new Error(`Cannot read "${file}": ${(error as Error).message}`, { cause: error });
  }
  return readSettings(text, file);
}

function mistake(issue: z.core.$ZodIssue, raw: unknown): string {
  const steps = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0]!] : issue.path;
  const key = steps
    .map((step, at) => (typeof step === "number" ? `[${step}]` : at === 0 ? step : `.${String(step)}`))
    .join("");
  const value = steps.reduce<any>((at, step) => at?.[step], raw);
  if (issue.code === "unrecognized_keys") return `Cannot use key "${key}": there is no such key`;
  if (value === undefined) return `Cannot go without ${key || "networks"}: ${reason(issue)}`;
  return `Cannot use ${key || "the configuration"} ${quote(value)}: ${reason(issue)}`;
}

function reason(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return `must be ${/^[aio]/.test(issue.expected) ? "an" : "a"} ${issue.expected}`;
    case "invalid_union":
      return "must be file, etcd or flannel";
    case "too_small":
      return issue.origin === "array" || issue.origin === "string"
        ? "must not be empty"
        : `must be ${issue.minimum} or more`;
    case "too_big":
      return `must be ${issue.maximum} or ${issue.origin === "array" ? "fewer" : "less"}`;
    default:
      return issue.message;
  }
}
