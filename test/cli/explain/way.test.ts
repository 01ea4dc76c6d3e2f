import { expect, test } from "bun:test";
import { describe, familyOf, hostEnd, linkWith, routeText, wrongWith } from "../../../cli/explain/way.ts";
import { findLink } from "../../../lib/ip/link.ts";
import { onNode } from "../../helpers/namespace.ts";

test("what is wrong with a link, and how one that is well is described", async () => {
  await onNode(async ({ node, ns }) => {
    await node.exec("sh", [
      "-ec",
      "ip link add x0 address 02:00:00:00:00:01 type veth peer name x1; ip addr add 10.1.0.1/24 dev x0",
    ]);
    expect(wrongWith(findLink(ns, "x0")!)).toBe("x0 is down");
    await node.exec("ip", ["link", "set", "x0", "up"]);
    expect(wrongWith(findLink(ns, "x0")!)).toBe("x0 is up, but its other end is not");
    await node.exec("ip", ["link", "set", "x1", "up"]);
    const link = findLink(ns, "x0")!;
    expect([wrongWith(link), describe(link, "10.1.0.1")]).toEqual([
      undefined,
      "x0 is up, 10.1.0.1, 02:00:00:00:00:01, MTU 1500",
    ]);
    expect(linkWith(ns, "10.1.0.1")!.name).toBe("x0");
    expect(linkWith(ns, "10.1.0.2")).toBeUndefined();
    expect(routeText({ destination: "10.2.0.0/16", gateway: "10.1.0.9", source: "10.1.0.1" }, link, "10.2.0.7")).toBe(
      "to 10.2.0.0/16 by 10.1.0.9 dev x0 from 10.1.0.1",
    );
  });
});

test("an endpoint elsewhere has no end here", () => {
  expect(hostEnd({ kind: "elsewhere", name: "x", addresses: ["10.0.0.1"] }, "10.0.0.1")).toBeUndefined();
  expect([familyOf("10.0.0.1"), familyOf("fd00::1")]).toEqual([4, 6]);
});
