import { expect, test } from "bun:test";
import { adoptDevice } from "../../../cli/agent/adopt.ts";
import { onNode } from "../../helpers/namespace.ts";

test("a vxlan device is ours by its new name; its address, its table and its state stay", () =>
  onNode(async ({ node, ns, ip }) => {
    await node.exec("bash", [
      "-ec",
      `ip link add flannel.1 address 02:00:00:00:00:77 type vxlan id 1 dstport 8472 local 127.0.0.1 dev lo nolearning
       ip link set flannel.1 up; bridge fdb append 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2 self permanent
       ip link add flannel.2 type bridge`,
    ]);
    expect(adoptDevice(ns, "flannel.1", "tenon.1")).toBe("02:00:00:00:00:77");
    const [link] = await ip("link", "show", "tenon.1");
    expect(link).toMatchObject({ address: "02:00:00:00:00:77", flags: expect.arrayContaining(["UP"]) });
    expect((await node.exec("bridge", ["fdb", "show", "dev", "tenon.1"])).stdout).toContain("dst 192.0.2.2");
    // Again, as after a restart; what is no tunnel; nothing.
    expect(adoptDevice(ns, "flannel.1", "tenon.1")).toBe("02:00:00:00:00:77");
    expect(adoptDevice(ns, "flannel.2", "tenon.2")).toBeUndefined();
    expect(adoptDevice(ns, "flannel.3", "tenon.3")).toBeUndefined();
  }));
