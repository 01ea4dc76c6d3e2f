// Pods with a link to shape, and what shaping there is, read back with tc.
import type { Netns, Node } from "./node.ts";

/** 10 Mbit/s in, 20 out, with 0.1 s of each as burst. */
export const both = {
  ingressRate: 10_000_000,
  ingressBurst: 1_000_000,
  egressRate: 20_000_000,
  egressBurst: 2_000_000,
};
export const base = { cniVersion: "1.1.0", name: "net", type: "bandwidth" };

/** A pod with a pair of links, as a main plugin would have left it, and that plugin's result. */
export async function plugged(node: Node, name: string, ifname = "eth0", pod?: Netns) {
  const netns = pod ?? (await node.netns(name));
  const end = `${name}-${ifname}`;
  await node.exec("ip", ["link", "add", end, "mtu", "1400", "type", "veth", "peer", "name", ifname, "netns", name]);
  await node.exec("ip", ["link", "set", end, "up"]);
  await netns.exec("ip", ["link", "set", ifname, "up"]);
  const prevResult = { cniVersion: "1.1.0", interfaces: [{ name: end }, { name: ifname, sandbox: netns.path }] };
  return { ...netns, end, at: { netns: netns.path, containerId: name, ifname }, prevResult };
}

export const tc = async (node: Node, ...args: string[]) =>
  JSON.parse((await node.exec("tc", ["-j", ...args])).stdout || "[]");
export const root = async (node: Node, dev: string) => (await tc(node, "qdisc", "show", "dev", dev, "root"))[0];
export const ifbs = async (node: Node): Promise<any[]> =>
  JSON.parse((await node.exec("ip", ["-j", "-d", "link", "show", "type", "ifb"])).stdout || "[]").filter(
    ({ ifname }: any) => ifname,
  );

/** What the kernel gives links in its own time, and our record of the helper that ends a DEL. */
export const noise = [/fe80::/, /file \/run\/tenon/];

/** What an attachment's shaping is, whichever suite made it: no handles, priorities, names of others. */
export async function state(node: Node, end: string) {
  const [device] = await ifbs(node);
  const redirects = (await tc(node, "filter", "show", "dev", end, "ingress")).flatMap(({ protocol, options }: any) =>
    options?.match ? [{ protocol, match: options.match, to: options.actions?.[0].to_dev }] : [],
  );
  const { kind, options } = await root(node, end);
  const inner = device && (await root(node, device.ifname));
  return {
    sends: { kind, options },
    device: device && { name: device.ifname, mtu: device.mtu, kind: inner.kind, options: inner.options },
    redirects,
  };
}
