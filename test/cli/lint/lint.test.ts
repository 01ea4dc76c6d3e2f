import { expect, test } from "bun:test";
import fc from "fast-check";
import { brief, findings, ipam, list } from "../../helpers/lint.ts";

test("nothing but notes is said of a good list", () => {
  const good = list([
    { type: "bridge", isDefaultGateway: true, ipMasq: true, capabilities: { ips: true, mac: true }, ipam },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "firewall" },
  ]);
  expect(brief(findings(good))).toEqual(["note version cniVersion"]);
});

test("the name of a network, and what is switched off", () => {
  const named = (name: unknown) => brief(findings(list([{ type: "loopback" }], { name })), "name");
  expect(named("a.b_c-1")).toEqual([]);
  for (const name of ["", "-a", "a/b", undefined]) expect(named(name)).toEqual(["error name name"]);
  const off = list([{ type: "loopback" }], { disableCheck: true, disableGC: true });
  expect(brief(findings(off), "disabled")).toEqual(["note disabled disableCheck", "note disabled disableGC"]);
});

test("findings come file by file, the worst of each first", () => {
  const files = ["b", "a"].map((name) => list([{ type: "portmap", nope: 1 }], { name }, `${name}.conflist`));
  const found = findings(...files);
  expect([...new Set(found.map(({ file }) => file))]).toEqual(["b.conflist", "a.conflist"]);
  const severities = found.filter(({ file }) => file === "b.conflist").map(({ severity }) => severity);
  expect(severities).toEqual(severities.toSorted((x, y) => "ewn".indexOf(x[0]!) - "ewn".indexOf(y[0]!)));
});

test("no JSON makes it fail, whatever stands where", () => {
  const keys =
    "type plugins name cniVersion cniVersions ipam ranges subnet rangeStart gateway capabilities mtu ipMasq masqExempt sysctl vlanTrunk bridge addresses address exclude routes prevResult args".split(
      " ",
    );
  const leaves = [
    "bridge",
    "portmap",
    "chain",
    "vxlan",
    "host-local",
    "static",
    "10.0.0.0/8",
    "10.0.0.1",
    "fd00::/64",
    "",
    0,
    -1,
    1.5,
    1e99,
    true,
    null,
  ];
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom(...leaves),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys), tie("value"), { maxKeys: 6 }),
    ),
  }));
  const severities = new Set(["error", "warning", "note"]);
  fc.assert(
    fc.property(value, value, value, (first, second, single) => {
      const found = findings(list([first, second]), list(first, {}, "b.conflist"), {
        name: "c.conf",
        text: JSON.stringify(single),
      });
      expect(found.every(({ severity, message }) => severities.has(severity) && message !== "")).toBe(true);
    }),
    { numRuns: process.env.TENON_SOAK ? 10_000 : 300 },
  );
});
