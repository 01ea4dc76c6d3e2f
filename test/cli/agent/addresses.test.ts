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

test("an IPv6 address that comes later, as those that move between machines, is not the node's", async () => {
  await using node = await makeNode("addresses", { uplink: true });
  const ns = openNamespace(node.path("/proc/1/ns/net"));
  const own = uplink.node[1];
  const [late, deprecated] = ["2001:db8:2::100/64", "preferred_lft 0"];
  const six = async (...commands: string[]) => {
    await node.exec("bash", ["-ec", ["ip -6 addr flush dev eth0 scope global", ...commands].join("\n")]);
    return nodeAddresses(ns).addresses[1];
  };
  const add = (address: string, more = "") => `ip addr add ${address} dev eth0 nodad ${more}`;
  try {
    expect(await six(add(`${own}/64`), add(late))).toBe(own);
    expect(await six(add("2001:db8:2::100/128"), add(`${own}/64`))).toBe(own);
    expect(await six(add(late, deprecated), add(`${own}/64`))).toBe(own);
    expect(await six(add(late, deprecated), add(`${own}/128`))).toBe(own);
    // Nothing else is there: an address that its router has not confirmed for some time still works.
    expect(await six(add(`${own}/64`, deprecated))).toBe(own);
  } finally {
    ns.close();
  }
});
