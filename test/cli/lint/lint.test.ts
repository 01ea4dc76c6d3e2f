import { expect, test } from "bun:test";
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
