// The list that stands in nearly every cluster, as plugins and in one process.
import type { List, Told } from "./list.ts";

export const ipam = {
  type: "host-local",
  ranges: [[{ subnet: "10.1.0.0/16" }], [{ subnet: "fd00:1::/64" }]],
  routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0", mtu: 1400, priority: 50 }],
};

const plugins = {
  bridge: { type: "bridge", bridge: "cni0", isGateway: true, ipMasq: true, hairpinMode: true, ipam },
  portmap: { type: "portmap", capabilities: { portMappings: true } },
  bandwidth: { type: "bandwidth", capabilities: { bandwidth: true } },
  firewall: { type: "firewall", ingressPolicy: "same-bridge" },
  tuning: { type: "tuning", sysctl: { "net.core.somaxconn": "500" }, mtu: 1450, allmulti: true },
};
export type Type = keyof typeof plugins;
export const types = Object.keys(plugins) as Type[];

/** The versions that speak of all of them, and how the earlier ones do without. */
const since: Partial<Record<Type, string>> = { bandwidth: "0.3.0", firewall: "0.4.0" };

/** The usual list in this version: bridge with ipMasq, portmap, bandwidth, firewall, tuning. */
export function usual(cniVersion: string, change: Partial<Record<Type, object>> = {}): List {
  const spoken = types.filter((type) => (since[type] ?? "") <= cniVersion);
  return { cniVersion, name: "net", plugins: spoken.map((type) => ({ ...plugins[type], ...change[type] })) };
}

/** The same list with its plugins `from` to `end` as one entry that asks for all that they ask for. */
export function fused({ plugins, ...list }: List, from = 0, end = plugins.length): List {
  const inner = plugins.slice(from, end);
  const capabilities = Object.assign({}, ...inner.map(({ capabilities }) => capabilities));
  const chain = { type: "chain", capabilities, plugins: inner };
  return { ...list, plugins: [...plugins.slice(0, from), chain, ...plugins.slice(end)] };
}

/** What the kubelet asks for a pod with three ports and limits, as containerd passes it on. */
export const told = (hostPort = 8080): Told => ({
  portMappings: [
    { HostPort: hostPort, ContainerPort: 80, Protocol: "tcp", HostIP: "" },
    { HostPort: hostPort, ContainerPort: 80, Protocol: "udp", HostIP: "" },
    { HostPort: hostPort + 1, ContainerPort: 81, Protocol: "tcp", HostIP: "" },
  ],
  bandwidth: { IngressRate: 2e7, IngressBurst: 4294967295, EgressRate: 2e7, EgressBurst: 4294967295 },
});
