// The names that the reference's executables gave: seen with 1.1.1 and 1.9.1, and the vectors of its own tests.
import { expect, test } from "bun:test";
import {
  commentOf,
  containerOf,
  masqueradeChain,
  masqueradeName,
  networkName,
  portsChain,
  spoofChains,
} from "../../../lib/ip/reference-names.ts";

test.each([
  ["test", "1234", "CNI-2bbe0c48b91a7d1b8a6753a8"],
  ["m", "cid1", "CNI-27788728b667e4526fa31084"],
  ["net", "cid1", "CNI-a4f1c0cea3480fe949fc94f8"],
  ["net", "cid2", "CNI-c9f936e7474e5d40102ec165"],
])("a container's masquerade, and its ports, have chains of these names: %s %s", (network, containerId, name) => {
  expect(masqueradeChain({ network, containerId })).toBe(name);
  expect(portsChain({ network, containerId })).toBe(`CNI-DN-${name.slice(4, 25)}`);
});

test.each([
  ["unit-test", "one", "eth0", "6fd94d501e58f0aa-287fc69eff0574a2"],
  ["net", "cid1", "eth0", "a4861f4ae9f7d238-0b65a318f52e521b"],
  ["net", "cid2", "eth0", "a4861f4ae9f7d238-ec3ff927478ce432"],
])("an interface's rule of nftables begins so: %s %s %s", (network, containerId, ifname, name) => {
  expect(masqueradeName({ network, containerId, ifname })).toBe(name);
  expect(networkName(network)).toBe(name.slice(0, 17));
});

test("guards of source addresses are named by container and interface", () => {
  expect(spoofChains({ containerId: "cid1", ifname: "eth0" })).toEqual([
    "cni-br-iface-cid1-eth0",
    "cni-br-iface-cid1-eth0-mac",
  ]);
});

test("a comment tells the container of its network, if it is whole", () => {
  expect(commentOf({ network: "net", containerId: "cid1" })).toBe('name: "net" id: "cid1"');
  expect(containerOf('name: "net" id: "cid1"', "net")).toBe("cid1");
  expect(containerOf('dnat name: "net" id: "cid1"', "net")).toBe("cid1");
  for (const other of ['name: "net2" id: "cid1"', 'name: "net" id: "cid1', "net", ""])
    expect(containerOf(other, "net")).toBeUndefined();
});
