import { expect, test } from "bun:test";
import { ensureForwarding, readSysctl, writeSysctls } from "../../../lib/ip/sysctl.ts";
import { onNode } from "../../helpers/namespace.ts";

test("settings are read and written in the namespace that is named, and missing ones passed over", () =>
  onNode(async ({ node, ns, pod }) => {
    writeSysctls(pod, { "ipv4/ip_default_ttl": "33", "ipv4/no_such_setting": "1" });
    expect(readSysctl(pod, "ipv4/ip_default_ttl")).toBe("33");
    expect(readSysctl(ns, "ipv4/ip_default_ttl")).toBe("64");
    expect(readSysctl(ns, "ipv4/no_such_setting")).toBeUndefined();
    expect((await node.execAt("/run/netns/pod")("sysctl", ["-n", "net.ipv4.ip_default_ttl"])).stdout).toBe("33");
    expect(() => writeSysctls(pod, { "ipv4/ip_default_ttl": "many" })).toThrow("invalid argument");
  }));

test("forwarding is switched on for each family alone, and stays on", () =>
  onNode(async ({ ns }) => {
    ensureForwarding(ns, 4);
    ensureForwarding(ns, 4);
    expect(readSysctl(ns, "ipv4/ip_forward")).toBe("1");
    expect(readSysctl(ns, "ipv6/conf/all/forwarding")).toBe("0");
    ensureForwarding(ns, 6);
    expect(readSysctl(ns, "ipv6/conf/all/forwarding")).toBe("1");
  }));
