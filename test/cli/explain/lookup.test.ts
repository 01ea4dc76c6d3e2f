import { expect, test } from "bun:test";
import {
  forwardingOf,
  isListening,
  kinds,
  neighbourOf,
  routeOf,
  stateOf,
  wrongSource,
} from "../../../cli/explain/lookup.ts";
import { findLink } from "../../../lib/ip/link.ts";
import { startEcho } from "../../helpers/echo.ts";
import { onNode } from "../../helpers/namespace.ts";

test("the way of a packet: the node's own, one that comes in by a link, and what is refused", async () => {
  await onNode(async ({ node, ns }) => {
    const script = `
      ip link add x0 type veth peer name x1; ip addr add 10.1.0.1/24 dev x0; ip link set x0 up; ip link set x1 up
      ip addr add 10.2.0.1/24 dev x1; ip route add blackhole 10.9.0.0/16; ip route add unreachable 10.8.0.0/16
      echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter`;
    await node.exec("sh", ["-ec", script]);
    const [a, b] = [findLink(ns, "x0")!.index, findLink(ns, "x1")!.index];
    expect(routeOf(ns, { to: "10.1.0.7" })).toMatchObject({ link: a, source: "10.1.0.1", kind: kinds.unicast });
    expect(routeOf(ns, { to: "10.2.0.7", from: "10.1.0.5", input: a })).toMatchObject({ link: b });
    expect(routeOf(ns, { to: "10.2.0.1", from: "10.1.0.5", input: a })).toMatchObject({ kind: kinds.local });
    expect(routeOf(ns, { to: "10.2.0.7", from: "10.2.0.5", input: a })).toHaveProperty("refused"); // EXDEV or EINVAL
    const forged = { to: "10.2.0.7", from: "10.2.0.5", input: a };
    expect(wrongSource(ns, forged, "x0")).toBe(b);
    expect(wrongSource(ns, { ...forged, from: "10.1.0.5" }, "x0")).toBeUndefined();
    expect(wrongSource(ns, { ...forged, to: "10.3.0.1" }, "x0")).toBeUndefined();
    expect(routeOf(ns, { to: "10.3.0.1" })).toEqual({ refused: "ENETUNREACH" });
    expect(routeOf(ns, { to: "10.9.0.1" })).toEqual({ refused: "EINVAL" });
    expect(routeOf(ns, { to: "10.8.0.1" })).toEqual({ refused: "EHOSTUNREACH" });
    expect(() => routeOf(ns, { to: "nobody" })).toThrow(TypeError);
  });
});

test("neighbours and forwarding entries, with what is known of them", async () => {
  await onNode(async ({ node, ns }) => {
    const script = `
      ip link add br0 type bridge; ip link add x0 type veth peer name x1; ip link set x0 master br0
      for link in br0 x0 x1; do ip link set $link up; done; ip addr add 10.1.0.1/24 dev br0
      ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev br0; bridge fdb add 02:00:00:00:00:09 dev x0 master static`;
    await node.exec("sh", ["-ec", script]);
    const [br0, a, b] = ["br0", "x0", "x1"].map((name) => findLink(ns, name)!.index) as [number, number, number];
    const known = neighbourOf(ns, br0, "10.1.0.9")!;
    expect([known.mac, stateOf(known)]).toEqual(["02:00:00:00:00:09", "permanent"]);
    expect(neighbourOf(ns, a, "10.1.0.9")).toBeUndefined();
    expect(forwardingOf(ns, "02:00:00:00:00:09", [a, b]).map(({ index }) => index)).toEqual([a]);
    expect(forwardingOf(ns, "02:00:00:00:00:09", [b])).toEqual([]);
    expect(["reachable", "failed", "unknown"]).toEqual([2, 0x20, 0].map((state) => stateOf({ state })));
  });
});

test("who listens: to a port of all addresses or of one, TCP and UDP", async () => {
  await onNode(async ({ node, pod: ns }) => {
    await using echo = {
      ...(await startEcho(node, { path: "/run/netns/pod" }, "echo", [80])),
      [Symbol.asyncDispose]: async () => {},
    };
    const listens = (protocol: "tcp" | "udp", address: string, port: number) =>
      isListening(ns, protocol, address, port);
    expect([listens("tcp", "10.1.0.1", 80), listens("udp", "10.1.0.1", 80), listens("tcp", "fd00::1", 80)]).toEqual([
      true,
      true,
      true,
    ]);
    expect([listens("tcp", "10.1.0.1", 81), listens("udp", "fd00::1", 8080)]).toEqual([false, false]);
    await echo.stop();
    expect(listens("tcp", "10.1.0.1", 80)).toBe(false);
  });
});
