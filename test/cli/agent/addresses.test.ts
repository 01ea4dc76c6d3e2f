import { expect, test } from "bun:test";
import { nodeAddresses } from "../../../cli/agent/addresses.ts";
import { openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, uplink } from "../../helpers/node.ts";

test("the addresses are those of the default route's link, or of the one that is named", async () => {
  await using node = await makeNode("addresses", { uplink: true });
  const ns = openNamespace(node.path("/proc/1/ns/net"));
  try {
    expect(nodeAddresses(ns)).toEqual({ addresses: [...uplink.node], mtu: 1500 });
    await node.exec("bash", [
      "-ec",
      "ip link add other type bridge; ip link set other up; ip addr add 198.51.100.9/24 dev other; ip addr add 198.51.100.10/24 dev other",
    ]);
    expect(nodeAddresses(ns, "other").addresses).toEqual(["198.51.100.9"]);
    expect(() => nodeAddresses(ns, "none")).toThrow('there is no link "none"');
    await node.exec("bash", ["-ec", "ip route del default; ip -6 route del default"]);
    expect(() => nodeAddresses(ns)).toThrow("there is no default route");
    await node.exec("ip", ["addr", "flush", "dev", "other"]);
    expect(() => nodeAddresses(ns, "other")).toThrow('link "other" has none');
  } finally {
    ns.close();
  }
});
