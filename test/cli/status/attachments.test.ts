// What of an attachment is told when pieces of it go, one after the other.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { rm, writeFile } from "node:fs/promises";
import type { AttachmentState } from "../../../cli/status/attachments.ts";
import { forget, type Pod, remember, tenonIn, twoPods } from "../../helpers/explain.ts";
import type { Node } from "../../helpers/node.ts";

let node: Node;
let a: Pod;
let b: Pod;

beforeEach(async () => {
  let conf: object;
  ({ node, a, b, conf } = await twoPods({ ipMasq: true, macspoofchk: true }));
  for (const pod of [a, b]) await remember(node, pod, conf);
});
afterEach(() => node.close());

/** The problems of each attachment, by container. */
async function problems(...args: string[]): Promise<Record<string, string[]>> {
  const { attachments } = JSON.parse((await tenonIn(node, "status", "--json", ...args)).stdout);
  return Object.fromEntries(attachments.map((one: AttachmentState) => [one.container, one.problems]));
}

test("nothing is wrong with pods that are whole, and where they are is told", async () => {
  const { exitCode, stdout } = await tenonIn(node, "status", "--json");
  const { attachments } = JSON.parse(stdout);
  expect([exitCode, attachments]).toEqual([
    0,
    [a, b].map((pod) => ({
      network: "net",
      container: pod.netns.name,
      ifname: "eth0",
      addresses: pod.result.ips.map(({ address }: any) => address.split("/")[0]),
      link: pod.result.interfaces[1].name,
      bridge: "cni0",
      since: expect.any(Number),
      problems: [],
    })),
  ]);
  expect(await problems("other")).toEqual({});
});

test("rules that somebody flushed", async () => {
  await node.exec("nft", ["flush", "ruleset"]);
  const found = await problems();
  expect(found.a!.join("\n")).toMatch(/masquerade/i);
  expect((await tenonIn(node, "status")).exitCode).toBe(1);
});

test("a link that is down, and one that is gone", async () => {
  const [first, second] = [a, b].map((pod) => pod.result.interfaces[1].name);
  await node.exec("ip", ["link", "set", first, "down"]);
  await node.exec("ip", ["link", "delete", second]);
  const found = await problems();
  expect(found.a).toContain(`link ${first} is down`);
  expect(found.b).toContain(`link ${second} is gone`);
});

test("a reservation that is gone", async () => {
  await rm(node.path(`/var/lib/cni/networks/net/${a.address}`));
  expect(await problems()).toEqual({ a: [`${a.address} is not reserved for it`], b: [] });
});

test("a pod that no runtime remembers, and what is left of one without a link", async () => {
  await forget(node, b);
  expect(await problems()).toEqual({ a: [], b: ["no runtime remembers it"] });
  await writeFile(node.path("/var/lib/cni/networks/net/10.1.9.9"), "gone\r\neth0");
  expect((await problems()).gone).toEqual(["it has no link, but address 10.1.9.9"]);
  // Where runtimes remember nothing at all, nothing is told of what they forgot.
  await forget(node, a);
  expect(await problems()).toMatchObject({ a: [], b: [] });
});
