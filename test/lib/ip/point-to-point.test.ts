// Both ends of a pair that ip(8) makes, configured from here and read back with ip(8).
import { afterEach, beforeEach, expect, test } from "bun:test";
import { CniError } from "../../../lib/cni/errors.ts";
import {
  assertHostEnd,
  assertPodEnd,
  configureHostEnd,
  configurePodEnd,
  type Ip,
  PROTOCOL,
} from "../../../lib/ip/point-to-point.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Netns, type Node } from "../../helpers/node.ts";

let node: Node;
let pod: Netns;
let host: Namespace;
let inside: Namespace;

const outer = { name: "outer", index: 7 };
const inner = { ifname: "eth0", index: 5 };

beforeEach(async () => {
  node = await makeNode("ends");
  pod = await node.netns("pod");
  await addPair("outer", 7, 5);
  host = openNamespace(node.path("/proc/1/ns/net"));
  inside = openNamespace(node.path(pod.path));
});

afterEach(async () => {
  host.close();
  inside.close();
  await node.close();
});

async function addPair(name: string, index: number, peer: number): Promise<void> {
  const ends = `link add ${name} index ${index} type veth peer name eth${peer - 5} index ${peer} netns pod`;
  await node.exec("ip", ends.split(" "));
  await node.exec("ip", ["link", "set", name, "up"]);
}

const routes = async ({ exec }: Pick<Node, "exec">, ...args: string[]) => {
  const { stdout } = await exec("ip", ["-d", ...args, "route"]);
  const lines = stdout.split("\n").map((line) => line.replace(/\s+/g, " ").trim());
  return lines.filter((line) => line !== "" && !line.includes("fe80")).sort();
};

const four: Ip = { address: "10.1.0.2/16", gateway: "10.1.0.1" };
const six: Ip = { address: "fd00:1::2/64", gateway: "fd00:1::1" };

function refusal(body: () => void): { code: number; message: string } {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(CniError);
    const { code, message } = error as CniError;
    return { code, message };
  }
  throw new Error("Cannot refuse: it was accepted");
}

test("the pod's subnet lies behind its gateway, whom it finds on the link", async () => {
  configureHostEnd(host, outer, [four, six], "net");
  const more = [{ dst: "0.0.0.0/0" }, { dst: "10.9.0.0/16", gw: "10.1.0.7" }, { dst: "::/0" }];
  configurePodEnd(inside, { ...inner, ips: [four, six], routes: more });
  expect(await routes(pod)).toEqual([
    "unicast 10.1.0.0/16 via 10.1.0.1 dev eth0 proto boot scope global src 10.1.0.2",
    "unicast 10.1.0.1 dev eth0 proto boot scope link src 10.1.0.2",
    "unicast 10.9.0.0/16 via 10.1.0.7 dev eth0 proto boot scope global",
    "unicast default via 10.1.0.1 dev eth0 proto boot scope global",
  ]);
  expect(await routes(pod, "-6")).toEqual([
    "unicast default via fd00:1::1 dev eth0 proto boot scope global metric 1024 pref medium",
    "unicast fd00:1::/64 via fd00:1::1 dev eth0 proto boot scope global src fd00:1::2 metric 1024 pref medium",
    "unicast fd00:1::1 dev eth0 proto boot scope global src fd00:1::2 metric 1024 pref medium",
  ]);
  expect(await routes(node)).toEqual([`unicast 10.1.0.2 dev outer proto ${PROTOCOL} scope host`]);
  expect(await routes(node, "-6")).toContain(
    `unicast fd00:1::2 dev outer proto ${PROTOCOL} scope global metric 1024 pref medium`,
  );
  assertHostEnd(host, outer.index, [four, six]);
  assertPodEnd(inside, inner.index, [four, six]);
  for (const ip of ["10.1.0.2", "fd00:1::2"]) await node.exec("ping", ["-c1", "-W2", ip]);
});

test("addresses share a gateway and a subnet, or have no subnet at all", async () => {
  const ips: Ip[] = [
    four,
    { address: "10.1.0.3/16", gateway: "10.1.0.1" },
    { address: "192.0.2.9/32", gateway: "169.254.1.1" },
    { address: "2001:db8::9/128", gateway: "fe80::1" },
  ];
  configureHostEnd(host, outer, ips, "net");
  configurePodEnd(inside, { ...inner, ips, routes: [] });
  expect(await routes(pod)).toEqual([
    "unicast 10.1.0.0/16 via 10.1.0.1 dev eth0 proto boot scope global src 10.1.0.2",
    "unicast 10.1.0.1 dev eth0 proto boot scope link src 10.1.0.2",
    "unicast 169.254.1.1 dev eth0 proto boot scope link src 192.0.2.9",
  ]);
  assertHostEnd(host, outer.index, ips);
  assertPodEnd(inside, inner.index, ips);
  expect(await routes(node)).toHaveLength(3);
});

test("what is missing is named; routes in another table will do", async () => {
  configureHostEnd(host, outer, [four, six], "net");
  configurePodEnd(inside, { ...inner, ips: [four, six], routes: [] });
  await pod.exec("sh", ["-c", "ip route add 10.1.0.0/16 via 10.1.0.1 table 100 && ip route del 10.1.0.0/16"]);
  assertPodEnd(inside, inner.index, [four, six]);
  const breaks: [where: Pick<Node, "exec">, command: string, names: string][] = [
    [pod, "ip route flush table 100", "10.1.0.0/16"],
    [pod, "ip route del 10.1.0.1", "10.1.0.1/32"],
    [node, "ip -6 route del fd00:1::2", "fd00:1::2/128"],
    [node, "ip addr del 10.1.0.1/32 dev outer", "10.1.0.1"],
  ];
  for (const [where, command, names] of breaks) {
    await where.exec("sh", ["-c", command]);
    const check = () =>
      where === pod ? assertPodEnd(inside, inner.index, [four]) : assertHostEnd(host, outer.index, [four, six]);
    expect(refusal(check)).toEqual({ code: 101, message: expect.stringContaining(names) });
  }
});

test("a route of the same network is taken over, another's is left and named", async () => {
  await addPair("other", 8, 6);
  for (const alias of ["net/c1/eth0", "elsewhere/c1/eth0"]) {
    await node.exec("ip", ["link", "set", "other", "alias", alias]);
    await node.exec("ip", ["route", "replace", "10.1.0.2", "dev", "other", "scope", "host"]);
    await node.exec("ip", ["-6", "route", "replace", "fd00:1::2", "dev", "other"]);
    const configure = () => configureHostEnd(host, outer, [four, six], "net");
    if (alias.startsWith("net/")) {
      configure();
      assertHostEnd(host, outer.index, [four, six]);
      await node.exec("ip", ["addr", "flush", "dev", "outer", "scope", "global"]);
      await node.exec("sh", ["-c", "ip route del 10.1.0.2; ip -6 route flush fd00:1::2"]);
    } else {
      expect(refusal(configure)).toEqual({ code: 102, message: expect.stringContaining(alias) });
      expect(await routes(node)).toEqual(["unicast 10.1.0.2 dev other proto boot scope host"]);
    }
  }
});
