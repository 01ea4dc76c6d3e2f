import { expect, test } from "bun:test";
import { join } from "node:path";
import { ensureForwarding, preferSysctls, readSysctl, writeSysctls } from "../../../lib/ip/sysctl.ts";
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

test("where /proc/sys may not be written, what is so already is fine, and what is preferred is let be", () =>
  onNode(async ({ ns, node }) => {
    ensureForwarding(ns, 4);
    const script = `
      import { ensureForwarding, preferSysctls, writeSysctls } from "${join(import.meta.dir, "../../../lib/ip/sysctl.ts")}";
      import { host } from "${join(import.meta.dir, "../../../lib/netns/netns.ts")}";
      ensureForwarding(host, 4);
      writeSysctls(host, { "ipv4/ip_forward": "1" });
      preferSysctls(host, { "ipv4/ip_default_ttl": "33" });
      for (const refused of [() => writeSysctls(host, { "ipv4/ip_default_ttl": "33" }), () => ensureForwarding(host, 6)])
        try { refused(); } catch (error) { console.log(error.code); }
      preferSysctls(host, { "ipv4/no_such_setting": "1" });`;
    const readOnly = "mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys";
    const command = [process.execPath, "-e", script];
    const { stdout } = await node.exec("sh", ["-ec", `${readOnly}; exec "$@"`, "sh", ...command]);
    expect(stdout.split("\n")).toEqual(["EROFS", "EROFS"]);
    expect(readSysctl(ns, "ipv4/ip_default_ttl")).toBe("64");
    expect(() => preferSysctls(ns, { "ipv4/ip_default_ttl": "many" })).toThrow("invalid argument");
  }));
