import { expect, test } from "bun:test";
import { brief, findings, list } from "../../helpers/lint.ts";

const rules = ["wrong-value", "gateway", "no-range", "small-range", "overlap", "same-name"];
const bridge = (ipam: object, more = {}) => ({ type: "bridge", ipam: { type: "host-local", ...ipam }, ...more });
const inOne = (ipam: object) => brief(findings(list([bridge(ipam)])), ...rules);

test("ranges of one network", () => {
  expect(inOne({ subnet: "10.1.0.0/16" })).toEqual([]);
  expect(inOne({ ranges: [[{ subnet: "10.1.0.0/16" }], [{ subnet: "10.1.2.0/24" }]] })).toEqual([
    "error wrong-value plugins[0].ipam.ranges[1][0].subnet",
  ]);
  expect(inOne({ subnet: "10.1.0.7/16" })).toEqual(["error wrong-value plugins[0].ipam.subnet"]);
  expect(inOne({ subnet: "10.1.0.0/30", gateway: "10.1.0.1" })).toEqual(["note small-range plugins[0].ipam"]);
  expect(inOne({ subnet: "10.1.0.0/24", rangeStart: "10.1.0.1", rangeEnd: "10.1.0.1" })).toEqual([
    "error no-range plugins[0].ipam",
  ]);
  // A value of a wrong type is told of once.
  expect(inOne({ subnet: 7 })).toEqual(["error wrong-value plugins[0].ipam.subnet"]);
});

test("a gateway out of the subnet, or one that another range gives to a pod", () => {
  expect(inOne({ subnet: "10.1.0.0/24", gateway: "10.2.0.1" })).toEqual(["error gateway plugins[0].ipam.gateway"]);
  const lower = { subnet: "10.1.0.0/24", rangeEnd: "10.1.0.99" };
  const upper = { subnet: "10.1.0.0/24", rangeStart: "10.1.0.100" };
  expect(inOne({ ranges: [[{ ...lower, gateway: "10.1.0.254" }, upper]] })).toEqual([
    "error gateway plugins[0].ipam.ranges[0][0].gateway",
    "error gateway plugins[0].ipam.ranges[0][1].gateway",
  ]);
  const same = { gateway: "10.1.0.254" };
  expect(
    inOne({
      ranges: [
        [
          { ...lower, ...same },
          { ...upper, ...same },
        ],
      ],
    }),
  ).toEqual([]);
});

test("ranges of several files", () => {
  const file = (name: string, ipam: object, more = {}) => list([bridge(ipam, more)], { name }, `${name}.conflist`);
  const both = (ipam: object, more = {}, name = "two") =>
    brief(findings(file("one", { subnet: "10.1.0.0/24", rangeEnd: "10.1.0.99" }), file(name, ipam, more)), ...rules);
  expect(both({ subnet: "10.2.0.0/24" })).toEqual([]);
  expect(both({ subnet: "10.0.0.0/8" })).toEqual(["error overlap plugins[0].ipam"]);
  const apart = { subnet: "10.1.0.0/24", rangeStart: "10.1.0.100" };
  expect(both(apart)).toEqual([]);
  expect(both(apart, { bridge: "other0" })).toEqual(["warning overlap plugins[0].ipam"]);
  expect(both({ type: "static", addresses: [{ address: "10.1.0.50/24" }] })).toEqual([
    "error overlap plugins[0].ipam.addresses[0]",
  ]);
  expect(both({ subnet: "10.0.0.0/8" }, {}, "one")).toEqual(["error same-name name"]);
});
