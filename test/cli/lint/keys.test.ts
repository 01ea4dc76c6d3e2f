import { expect, test } from "bun:test";
import { suite } from "../../../build/plugins.ts";
import { schemaFor } from "../../../cli/lint/keys.ts";
import { brief, findings, ipam, list } from "../../helpers/lint.ts";

test("unknown keys are found at every depth, with the nearest that is known", () => {
  const found = findings(
    list(
      [
        {
          type: "bridge",
          ipMask: true,
          dns: { nameserver: ["10.0.0.1"] },
          ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0/16", rangStart: "10.1.0.9" }]], rnages: [] },
        },
        { type: "portmap", snatt: true, capabilities: { portMappings: true } },
      ],
      { disabelCheck: true },
    ),
  ).filter(({ rule }) => rule === "unknown-key");
  expect(found.map(({ path, hint }) => [path, hint])).toEqual([
    ["disabelCheck", "did you mean disableCheck?"],
    ["plugins[0].ipMask", "did you mean ipMasq?"],
    ["plugins[0].dns.nameserver", "did you mean nameservers?"],
    ["plugins[0].ipam.ranges[0][0].rangStart", "did you mean rangeStart?"],
    ["plugins[0].ipam.rnages", "did you mean ranges?"],
    ["plugins[1].snatt", "did you mean snat?"],
  ]);
});

test("keys of others' plugins and of their IPAM, arguments, and free settings are left alone", () => {
  const found = findings(
    list([
      { type: "bridge", ipam: { type: "dhcp", daemonSocketPath: "/x" }, args: { cni: { labels: [] }, mine: 1 } },
      { type: "calico", anything: 1 },
      { type: "tuning", sysctl: { "net.core.somaxconn": "500" } },
    ]),
  );
  expect(brief(found, "unknown-key")).toEqual([]);
});

test("plugins inside a chain are looked at each for itself", () => {
  const chain = { type: "chain", plugins: [{ type: "bridge", isGateway: true, mut: 1400, ipam }, { type: "tuning" }] };
  expect(brief(findings(list([chain])), "unknown-key")).toEqual(["warning unknown-key plugins[0].plugins[0].mut"]);
});

test("a key in other letters works, and is mentioned", () => {
  expect(brief(findings(list([{ type: "bridge", ismasq: 1, IsGateway: true, ipam }])), "case")).toEqual([
    "note case plugins[0].IsGateway",
  ]);
});

test("keys that runtimes write, and a plugin's own name in a list", () => {
  const plugin = {
    type: "bridge",
    prevResult: {},
    runtimeConfig: {},
    "cni.dev/valid-attachments": [],
    name: "x",
    ipam,
  };
  expect(brief(findings(list([plugin])), "reserved-key")).toEqual([
    "warning reserved-key plugins[0].prevResult",
    "warning reserved-key plugins[0].runtimeConfig",
    "warning reserved-key plugins[0].cni.dev/valid-attachments",
    "note reserved-key plugins[0].name",
  ]);
});

test("a key that stands there twice", () => {
  const text = '{"cniVersion":"1.1.0","name":"a","type":"bridge","MTU":1400,"mtu":1500}';
  expect(brief(findings({ name: "a.conf", text }), "repeated-key")).toEqual(["error repeated-key mtu"]);
  const lists = '{"cniVersion":"1.1.0","name":"a","name":"b","plugins":[{"type":"loopback"}]}';
  expect(brief(findings({ name: "a.conflist", text: lists }), "repeated-key")).toEqual(["error repeated-key name"]);
});

test("the schema of a plugin holds the keys of the IPAM plugin that it names", () => {
  const { properties } = schemaFor({ type: "bridge", ipam: "host-local" }, suite)!;
  expect(Object.keys(properties!.ipam!.properties!)).toContain("rangeStart");
  expect(schemaFor({ type: "bridge", ipam: "dhcp" }, suite)!.properties!.ipam).toEqual({});
  expect(schemaFor({ type: "calico", ipam: undefined }, suite)).toBeUndefined();
});
