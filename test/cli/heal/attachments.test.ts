import { afterEach, beforeEach, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Caches, isOurs, readAttachment } from "../../../cli/heal/attachments.ts";
import { hostLinkName } from "../../../lib/cni/identity.ts";

const list = {
  cniVersion: "1.0.0",
  name: "pods",
  plugins: [
    { type: "bridge", bridge: "cni0" },
    { type: "portmap", capabilities: { portMappings: true, bandwidth: false } },
  ],
};
const name = hostLinkName("pods", "c1", "eth0");
const result = {
  cniVersion: "1.0.0",
  interfaces: [{ name: "cni0" }, { name }, { name: "eth0", sandbox: "/run/netns/a" }],
  ips: [{ address: "10.1.0.2/24", gateway: "10.1.0.1", interface: 2 }],
};
const portMappings = [{ HostPort: 8080, ContainerPort: 80 }];
const file = (change: object = {}, config: object = list) =>
  JSON.stringify({
    kind: "cniCacheV1",
    containerId: "c1",
    config: Buffer.from(JSON.stringify(config)).toString("base64"),
    ifName: "eth0",
    networkName: "pods",
    cniArgs: [
      ["IgnoreUnknown", "1"],
      ["K8S_POD_NAME", "a"],
    ],
    capabilityArgs: { portMappings, bandwidth: {}, mac: "02:00:00:00:00:01" },
    result,
    ...change,
  });

test("a file tells of each plugin of the list what a runtime would tell it", () => {
  const attachment = readAttachment(file(), "/x");
  expect(attachment).toMatchObject({
    network: "pods",
    containerId: "c1",
    ifname: "eth0",
    label: "pods/c1/eth0",
    hostName: name,
    args: "IgnoreUnknown=1;K8S_POD_NAME=a",
    file: "/x",
  });
  expect(attachment.steps.map(({ json }) => json)).toEqual([
    { type: "bridge", bridge: "cni0", name: "pods", cniVersion: "1.0.0", prevResult: result },
    {
      ...list.plugins[1],
      name: "pods",
      cniVersion: "1.0.0",
      prevResult: result,
      runtimeConfig: { portMappings },
    } as any,
  ]);
  expect(isOurs(attachment)).toBe(true);
});

test("the configuration of a single plugin is a list of one, absent arguments are none", () => {
  const single = { cniVersion: "0.3.1", name: "cni-loopback", type: "loopback" };
  const text = file({ cniArgs: null, capabilityArgs: null, result: { cniVersion: "0.3.1" } }, single);
  const attachment = readAttachment(text, "");
  expect([attachment.args, attachment.steps.length, attachment.steps[0]!.type]).toEqual(["", 1, "loopback"]);
  expect(isOurs(attachment)).toBe(false);
});

test("what is no such file is refused", () => {
  for (const text of ["", "{", "{}", file({ kind: "v2" }), file({ config: "%" }), file({ result: [] }), file({}, [])])
    expect(() => readAttachment(text, "")).toThrow();
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenon-results-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("a folder is read again where something changed, and what cannot be read is named beside the rest", async () => {
  const caches = new Caches([folder, folder]);
  expect(await caches.read()).toEqual({ attachments: [] });
  await writeFile(join(folder, "a"), file());
  const [first] = (await caches.read()).attachments;
  expect(first!.label).toBe("pods/c1/eth0");
  await writeFile(join(folder, "b"), "{");
  const { attachments, problem } = await caches.read();
  expect(attachments).toEqual([first!]);
  expect(attachments[0]).toBe(first!); // not read again
  expect(problem).toStartWith(`Cannot read ${join(folder, "b")}`);
  await writeFile(join(folder, "b"), file({ containerId: "c2" }));
  await utimes(folder, 1, 1); // long settled
  const settled = await caches.readFolder(folder);
  expect(settled.attachments.map(({ containerId }) => containerId).sort()).toEqual(["c1", "c2"]);
  expect(await caches.readFolder(folder)).toBe(settled);
  await rm(join(folder, "a"));
  expect((await caches.read()).attachments.map(({ containerId }) => containerId)).toEqual(["c2"]);
});

test("a folder that is missing is a problem, not an empty one", async () => {
  const { attachments, problem } = await new Caches([join(folder, "none")]).read();
  expect([attachments, problem]).toEqual([[], expect.stringContaining("none")]);
});
