// Pods attached by bridge and firewall, and what firewalls are asked about.
import type { Netns, Node } from "./node.ts";
import { must, ours } from "./plugin.ts";

/** A result of another plugin. */
export const before = {
  interfaces: [
    { name: "cni0", mac: "02:00:00:00:00:01" },
    { name: "veth1", mac: "02:00:00:00:00:02" },
    { name: "eth0", mac: "02:00:00:00:00:03", sandbox: "/run/netns/pod" },
  ],
  ips: [
    { interface: 2, address: "10.1.0.2/16", gateway: "10.1.0.1" },
    { interface: 2, address: "fd00:1::2/64" },
  ],
  routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1" }],
  dns: { nameservers: ["10.9.9.9"] },
};

const subnets = ["10.1.0.0/16", "fd00:1::/64"];
const base = { cniVersion: "1.0.0", name: "net" };
export const bridge = (name: string, link: string, own = subnets) => ({
  ...base,
  name,
  type: "bridge",
  bridge: link,
  isDefaultGateway: true,
  ipam: { type: "host-local", ranges: own.map((subnet) => [{ subnet }]) },
});
export const firewall = { ...base, type: "firewall" };

export interface Pod {
  name: string;
  netns: Netns;
  result: any;
  addresses: string[];
  conf: object;
}

/** A pod attached by bridge, and then by the firewall of `bin`. */
export async function attach(node: Node, name: string, conf: any, more: object, bin = ours): Promise<Pod> {
  const netns = await node.netns(name);
  const at = { netns: netns.path, containerId: name };
  const result = await must(node, "ADD", conf, at);
  const own = { ...firewall, name: conf.name, ...more };
  await must(node, "ADD", { ...own, prevResult: result }, { ...at, bin });
  return { name, netns, result, conf: own, addresses: result.ips.map((ip: any) => ip.address.split("/")[0]) };
}

/** Whether packets of the address come back, within two seconds. */
export async function reaches(from: { exec: Node["exec"] }, address: string): Promise<boolean> {
  return (await from.exec("ping", ["-c1", "-i0.3", "-w2", address], { reject: false })).exitCode === 0;
}

/** Those of the addresses that answer within a second. */
export async function answers(from: { exec: Node["exec"] }, addresses: readonly string[]): Promise<string[]> {
  const script = 'for address; do ping -c1 -W1 "$address" > /dev/null && echo "$address" & done; wait';
  return (await from.exec("sh", ["-c", script, "sh", ...addresses])).stdout.split("\n");
}

/** The rules of iptables, without what counts. */
export async function saved(node: Node): Promise<string[]> {
  const both = await Promise.all(["iptables-save", "ip6tables-save"].map((program) => node.exec(program, [])));
  return both.flatMap(({ stdout }) => stdout.split("\n").filter((line) => /^(-A|:[A-Z]+ DROP)/.test(line)));
}
