import { expect, test } from "bun:test";
import { listFeatures, setFeature, txChecksum } from "../../../../lib/netlink/ethtool/features.ts";
import { NETLINK_GENERIC } from "../../../../lib/netlink/generic.ts";
import { Connection, openSocket } from "../../../../lib/netlink/socket.ts";
import { onNode } from "../../../helpers/namespace.ts";

test("features are listed and switched as ethtool sees them", async () => {
  await onNode(async ({ node, ns, ip }) => {
    await node.exec("ip", "link add tenon.1 type vxlan id 1 dstport 4789".split(" "));
    const [{ ifindex }] = await ip("link", "show", "tenon.1");
    const connection = ns.run(() => new Connection(openSocket(NETLINK_GENERIC)));
    const seen = async () =>
      (await node.exec("ethtool", ["-k", "tenon.1"])).stdout.match(/tx-checksum-ip-generic: (\w+)/)![1];
    try {
      expect(listFeatures(connection, ifindex)).toContain(txChecksum);
      expect(await seen()).toBe("on");
      setFeature(connection, ifindex, txChecksum, false);
      expect(listFeatures(connection, ifindex)).not.toContain(txChecksum);
      expect(await seen()).toBe("off");
      setFeature(connection, ifindex, txChecksum, true);
      expect(await seen()).toBe("on");
      expect(() => setFeature(connection, ifindex, "no-such-feature", true)).toThrow(
        "Cannot set feature no-such-feature",
      );
      expect(() => listFeatures(connection, 12345)).toThrow("Cannot list features of link 12345");
    } finally {
      connection.close();
    }
  });
});
