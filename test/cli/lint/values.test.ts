import { expect, test } from "bun:test";
import { brief, findings, ipam, list } from "../../helpers/lint.ts";

test("every value that a plugin would refuse, in the plugin's own words, with its place", () => {
  const found = findings(
    list([
      {
        type: "bridge",
        mtu: "x",
        bridge: "a name",
        vlanTrunk: [{ id: 7 }, { id: 5000 }],
        ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0" }]] },
      },
      { type: "portmap", backend: "ebpf", capabilities: { portMappings: true } },
      { type: "tuning", sysctl: { "net.a": 1 } },
    ]),
  ).filter(({ rule }) => rule === "wrong-value");
  expect(found.map(({ path, message }) => `${path}: ${message.split(": ").slice(1).join(": ")}`)).toEqual([
    "plugins[0].bridge: must be a link's name: 1 to 15 bytes without slash, colon or white space",
    "plugins[0].mtu: must be a whole number",
    "plugins[0].vlanTrunk[1].id: must be 1 to 4094",
    "plugins[0].ipam.ranges[0][0].subnet: must be an address and a prefix length, as 10.0.0.0/24",
    "plugins[1].backend: must be one of nftables, iptables, ",
    "plugins[2].sysctl.net.a: must be a string",
  ]);
});

test("values that contradict each other", () => {
  const found = findings(
    list([
      { type: "bridge", hairpinMode: true, promiscMode: true, disableContainerInterface: true, ipam },
      {
        type: "bandwidth",
        ingressRate: 8000,
        egressBurst: 1,
        shapedSubnets: ["10.0.0.0/8"],
        unshapedSubnets: ["10.1.0.0/16"],
      },
      { type: "tuning", sysctl: { "kernel.msgmax": "1", "net/core/somaxconn": "1" } },
    ]),
  );
  expect(brief(found, "contradiction")).toEqual([
    "error contradiction plugins[0].promiscMode",
    "error contradiction plugins[0].disableContainerInterface",
    "error contradiction plugins[1].ingressRate",
    "error contradiction plugins[1].egressBurst",
    "error contradiction plugins[1].unshapedSubnets",
    "error contradiction plugins[2].sysctl",
  ]);
  expect(brief(findings(list([{ type: "ptp" }])), "contradiction")).toEqual(["error contradiction plugins[0].ipam"]);
});
