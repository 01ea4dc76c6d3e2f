import { expect, test } from "bun:test";
import { putOnce, takeKey } from "../../../cli/agent/layout.ts";
import { startEtcd } from "../../helpers/etcd.ts";

test("what stands there already, under the same lease, is not written again", async () => {
  await using etcd = await startEtcd();
  const client = etcd.client();
  const grant = async () => `${(await client.leaseClient.leaseGrant({ TTL: 60 })).ID}`;
  const [one, two] = [await grant(), await grant()];
  const revision = async () => (await client.get("/k").exec()).kvs[0]!.mod_revision;
  await putOnce({ client, lease: one }, "/k", "v");
  const first = await revision();
  await putOnce({ client, lease: one }, "/k", "v");
  expect(await revision()).toBe(first);
  await putOnce({ client, lease: two }, "/k", "v");
  const second = await revision();
  expect(second).not.toBe(first);
  await putOnce({ client, lease: two }, "/k", "w");
  expect(await revision()).not.toBe(second);
  expect((await client.get("/k").exec()).kvs[0]!.lease).toBe(two);
});

test("a key is taken if it is free or this node's own, by one write and no more", async () => {
  await using etcd = await startEtcd();
  const client = etcd.client();
  const lease = `${(await client.leaseClient.leaseGrant({ TTL: 60 })).ID}`;
  const take = (value: string) => takeKey({ client, lease }, "/k", value, (there) => there === "mine");
  const there = async () => (await client.get("/k").exec()).kvs[0]!;
  expect(await take("mine")).toBe(true);
  const first = await there();
  expect(`${first.lease}`).toBe(lease);
  expect(await take("mine")).toBe(true);
  expect((await there()).mod_revision).toBe(first.mod_revision);
  await client.put("/k").value("theirs").exec();
  expect(await take("mine")).toBe(false);
  expect((await there()).value.toString()).toBe("theirs");
});
