import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CniError, transaction } from "../../../lib/cni/errors.ts";
import { askIpam, chooseDns, ownIps } from "../../../lib/cni/ipam.ts";
import type { Request } from "../../../lib/cni/request.ts";

let folder: string;
const log = () => readFileSync(join(folder, "log"), "utf8").trim().split("\n");

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ipam-"));
  appendFileSync(join(folder, "log"), "");
  // An IPAM plugin that notes each verb and answers what stdin says.
  writeFileSync(join(folder, "stub"), `#!/bin/sh\necho $CNI_COMMAND >> ${folder}/log\nexec cat\n`);
  chmodSync(join(folder, "stub"), 0o755);
});

afterAll(() => rmSync(folder, { recursive: true }));

const request = (answer: object, cniVersion = "1.0.0"): Request<any> => ({
  verb: "ADD",
  containerId: "c1",
  ifname: "eth0",
  netns: "/run/netns/none",
  args: "",
  path: [folder],
  cniVersion,
  network: "net",
  conf: {},
  json: {},
  stdin: new TextEncoder().encode(JSON.stringify(answer)),
  environment: { PATH: "/usr/bin:/bin" },
  suite: {},
  warn: () => {},
});

/** The code of the error that asking ends in, and the verbs that the IPAM plugin saw. */
function refusal(answer: object, cniVersion?: string) {
  writeFileSync(join(folder, "log"), "");
  try {
    transaction((undo) => askIpam(request(answer, cniVersion), "stub", undo));
  } catch (error) {
    expect(error).toBeInstanceOf(CniError);
    return { code: (error as CniError).code, message: (error as CniError).message, log: log() };
  }
  throw new Error("Cannot refuse: it was accepted");
}

test("what IPAM gave is handed on, and goes back should something later fail", () => {
  const given = { ips: [{ address: "10.0.0.2/24", gateway: "10.0.0.1" }], routes: [{ dst: "0.0.0.0/0" }] };
  writeFileSync(join(folder, "log"), "");
  expect(transaction((undo) => askIpam(request(given), "stub", undo))).toMatchObject(given);
  expect(log()).toEqual(["ADD"]);
  const later = () =>
    transaction((undo) => {
      askIpam(request(given), "stub", undo);
      throw new Error("later");
    });
  expect(later).toThrow("later");
  expect(log()).toEqual(["ADD", "ADD", "DEL"]);
});

test("no address, and more than the version's results can hold, are refused and given back", () => {
  expect(refusal({})).toEqual({ code: 7, message: expect.stringContaining('"stub"'), log: ["ADD", "DEL"] });
  const two = { cniVersion: "1.0.0", ips: [{ address: "10.0.0.2/24" }, { address: "10.0.0.3/24" }] };
  expect(refusal(two, "0.2.0")).toEqual({ code: 2, message: expect.stringContaining("0.2.0"), log: ["ADD", "DEL"] });
});

test("dns of the configuration counts if any of its keys is there, an empty list too", () => {
  const given = { nameservers: ["192.0.2.53"] };
  expect(chooseDns(undefined, given)).toBe(given);
  expect(chooseDns({}, given)).toBe(given);
  expect(chooseDns({ domain: "", nameservers: undefined }, given)).toBe(given);
  expect(chooseDns({ nameservers: [] }, given)).toEqual({ nameservers: [] });
  expect(chooseDns({ domain: "a" }, given)).toEqual({ domain: "a" });
  expect(chooseDns(undefined, undefined)).toBeUndefined();
});

test("an interface's own addresses are those that point to it, and those that point nowhere", () => {
  const ips = [
    { interface: 0, address: "10.0.0.1/24" },
    { interface: 1, address: "10.0.0.2/24" },
    { address: "::2/64" },
  ];
  const result = { interfaces: [{ name: "eth0" }, { name: "eth1" }], ips };
  expect(ownIps(result, "eth1")).toEqual([ips[1]!, ips[2]!]);
  expect(ownIps({}, "eth1")).toEqual([]);
});
