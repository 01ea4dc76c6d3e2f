// What a node holds, as sorted lines, so that "nothing is left" is a comparison of two lists.
//
//   link {"ifname":"cni0",...}   address cni0 10.1.0.1/16   route {"dst":...}   rule {...}   nft {"table":...}   file /run/...
//
// Left out is what changes by itself or names no object: interface indexes, link flags, handles, counters, and the table
// "local", which the kernel fills from the addresses some time after them.
import type { Netns, Node } from "./node.ts";

const folders = ["/etc/cni", "/run", "/var/lib/cni", "/var/lib/tenon"];

/** Everything that a plugin could leave in a node. With a pod's namespace: its links, addresses, routes, rules, nft. */
export async function snapshot(place: Node | Netns): Promise<string[]> {
  const json = async (command: string, ...args: string[]) => {
    const { stdout } = await place.exec(command, args);
    return JSON.parse(stdout || "[]");
  };
  const [links, addresses, routes4, routes6, rules4, rules6, rules, files] = await Promise.all([
    json("ip", "-j", "-d", "link"),
    json("ip", "-j", "addr"),
    json("ip", "-j", "-4", "route", "show", "table", "all"),
    json("ip", "-j", "-6", "route", "show", "table", "all"),
    json("ip", "-j", "-4", "rule"),
    json("ip", "-j", "-6", "rule"),
    ruleset(place),
    "path" in place && typeof place.path === "function"
      ? place.exec("find", [...folders, "-printf", "%p%y\n"]).then(({ stdout }) => stdout.split("\n"))
      : [],
  ]);
  const lines = [
    ...links.map(({ ifname, address, mtu, master, ifalias, linkinfo }: any) =>
      ["link", JSON.stringify({ ifname, kind: linkinfo?.info_kind, address, mtu, master, ifalias })].join(" "),
    ),
    ...addresses.flatMap(({ ifname, addr_info }: any) =>
      addr_info.map(({ local, prefixlen }: any) => `address ${ifname} ${local}/${prefixlen}`),
    ),
    ...[...routes4, ...routes6]
      .filter(({ table }) => table !== "local")
      .map((route) => `route ${JSON.stringify({ ...route, flags: undefined })}`),
    ...[...rules4, ...rules6].map((rule) => `rule ${JSON.stringify(rule)}`),
    ...rules
      .filter((object: any) => !object.metainfo)
      .map((object: any) => `nft ${JSON.stringify(object, (key, value) => (volatile.has(key) ? undefined : value))}`),
    ...files.map((line) => `file ${line.slice(0, -1)}${line.endsWith("d") ? "/" : ""}`),
  ];
  return lines.sort();
}

/** All objects of nftables but the agent's own table, whose owner flag nft 1.0.6 prints as broken JSON. */
async function ruleset(place: Node | Netns): Promise<any[]> {
  const { stdout } = await place.exec("nft", ["list", "tables"]);
  const own = /^table inet tenon-agent$/m;
  const tables = own.test(stdout) ? stdout.split("\n").filter((line) => line !== "" && !own.test(line)) : ["ruleset"];
  const lists = tables.map(async (what) => {
    // A table may go between the two looks.
    const listed = await place.exec("nft", ["-j", "list", ...what.split(" ")], { reject: what === "ruleset" });
    return listed.exitCode === 0 ? (JSON.parse(listed.stdout || "{}").nftables ?? []) : [];
  });
  return (await Promise.all(lists)).flat();
}

const volatile = new Set(["handle", "packets", "bytes", "expires"]);

/** What `after` has and `before` had not, and the reverse; lines that match `allowed` do not count. */
export function leftOver(before: string[], after: string[], allowed: RegExp[] = []): string[] {
  const [old, now] = [new Set(before), new Set(after)];
  return [
    ...after.filter((line) => !old.has(line)).map((line) => `+ ${line}`),
    ...before.filter((line) => !now.has(line)).map((line) => `- ${line}`),
  ].filter((line) => !allowed.some((pattern) => pattern.test(line)));
}

/** What may stay after the last pod: things of the node or of a network, never of a pod. */
export const settled = [
  /^\+ file \/run\/tenon\/([\w-]+\/)?(helper|[0-9a-f]+-[0-9a-f]+)?$/, // the index of a network's addresses, rebuilt at will
  /^\+ file \/var\/lib\/cni\/networks\/([^/]+\/(last_reserved_ip\.\d+|lock)?)?$/,
  /^\+ nft \{"(table|chain)"/,
  /^\+ nft \{"rule":.*"table":"tenon"/,
  /^\+ nft \{"set":.*"flags":\["constant"/, // the exempt destinations of a network's masquerade
  /^\+ nft \{"set":(?!.*"elem")/,
];
