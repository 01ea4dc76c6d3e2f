import { expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  flannelLayout,
  keyOfSubnets,
  outside,
  readFlannelConfig,
  readSubnetFile,
  subnetsOfKey,
} from "../../../cli/agent/flannel-layout.ts";
import type { Session } from "../../../cli/agent/layout.ts";
import { configure, startAgent, until } from "../../helpers/agent.ts";
import { startEtcd } from "../../helpers/etcd.ts";
import { makeNode } from "../../helpers/node.ts";

test("Flannel's configuration is read with its defaults", () => {
  const backend = { Type: "vxlan" };
  const read = (json: object) => readFlannelConfig(JSON.stringify({ Backend: backend, ...json }));
  expect(read({ Network: "10.5.0.0/16" })).toEqual({
    ranges: [{ cidr: "10.5.0.0/16", size: 24 }],
    backend: { type: "vxlan", vni: 1 },
  });
  expect(read({ Network: "10.5.0.0/24" }).ranges).toEqual([{ cidr: "10.5.0.0/24", size: 26 }]);
  const two = { Network: "10.5.0.0/16", SubnetLen: 20, EnableIPv6: true, IPv6Network: "fd00::/48" };
  expect(read(two).ranges).toEqual([
    { cidr: "10.5.0.0/16", size: 20 },
    { cidr: "fd00::/48", size: 64 },
  ]);
  expect(read({ Network: "10.5.0.0/16", Backend: { Type: "host-gw" } }).backend.type).toBe("host-gw");
  expect(() => read({ Network: "10.5.0.0/16", Backend: undefined })).toThrow("its backend is udp");
  expect(() => read({})).toThrow("is no network");
});

test("keys are subnets; some subnets no node gets", () => {
  expect(subnetsOfKey("10.5.34.0-24")).toEqual(["10.5.34.0/24"]);
  expect(subnetsOfKey("10.5.34.0-24&fd00:5::-64")).toEqual(["10.5.34.0/24", "fd00:5::/64"]);
  expect(keyOfSubnets(["10.5.34.0/24", "fd00:5::/64"])).toBe("10.5.34.0-24&fd00:5::-64");
  const range = { cidr: "10.5.0.0/21", size: 24 };
  expect(outside(range, {})).toEqual(["10.5.0.0/24"]);
  expect(outside(range, { least: "10.5.2.0", most: "10.5.5.0" })).toEqual([
    "10.5.0.0/24",
    "10.5.1.0/24",
    "10.5.6.0/24",
    "10.5.7.0/24",
  ]);
});

const lease = (address: string, mac: string) =>
  JSON.stringify({ PublicIP: address, PublicIPv6: null, BackendType: "vxlan", BackendData: { VNI: 1, VtepMAC: mac } });

test("a node claims a free subnet, its file's, or the one that it had, and is a lease among leases", async () => {
  await using etcd = await startEtcd();
  const client = etcd.client();
  const prefix = "/coreos.com/network";
  await client
    .put(`${prefix}/config`)
    .value('{"Network":"10.5.0.0/22","SubnetLen":24,"Backend":{"Type":"vxlan"}}')
    .exec();
  await client.put(`${prefix}/subnets/10.5.1.0-24`).value(lease("192.0.2.7", "02:00:00:00:00:07")).exec();
  const subnetFile = join(etcd.dir, "subnet.env");
  await writeFile(subnetFile, "FLANNEL_NETWORK=10.5.0.0/22\nFLANNEL_SUBNET=10.5.3.1/24\nFLANNEL_MTU=1450\n");
  expect(await readSubnetFile(subnetFile)).toEqual(["10.5.3.0/24"]);
  expect(await readSubnetFile("/nowhere")).toEqual([]);

  const granted = `${(await client.leaseClient.leaseGrant({ TTL: 60 })).ID}`;
  const node = (name: string, address: string, file = "/nowhere", mac?: string) => {
    const layout = flannelLayout({ prefix, network: "pods", subnetFile: file, adopt: () => mac });
    const session: Session = {
      client,
      lease: granted,
      terms: { lease: 60, heartbeat: 1 },
      memory: { id: "x", subnets: [] },
      self: { name, addresses: [address] },
      say: () => {},
    };
    return { layout, join: () => layout.join(session) };
  };
  const a = node("a", "192.0.2.1", subnetFile, "02:00:00:00:00:01");
  const key = await a.join();
  expect(key).toBe(`${prefix}/subnets/10.5.3.0-24`);
  const written = (await client.get(key).string())!;
  expect(JSON.parse(written)).toEqual(JSON.parse(lease("192.0.2.1", "02:00:00:00:00:01")));
  const found = { subnets: ["10.5.3.0/24"], addresses: ["192.0.2.1"], mac: "02:00:00:00:00:01" };
  expect(a.layout.read(key, written)).toEqual({ name: "a", ...found });
  // Another node sees it by its address; the first subnet is nobody's, so this one gets the last that is left.
  const b = node("b", "192.0.2.2");
  expect(await b.join()).toBe(`${prefix}/subnets/10.5.2.0-24`);
  expect(b.layout.read(key, written)).toEqual({ name: "192.0.2.1", ...found });
  const refused = await node("c", "192.0.2.3")
    .join()
    .catch((error: Error) => error.message);
  expect(refused).toContain("all subnets of 10.5.0.0/22 are taken");
  // The one that it had in Flannel's time, and the MAC address that the others know.
  const d = node("d", "192.0.2.7");
  expect(await d.join()).toBe(`${prefix}/subnets/10.5.1.0-24`);
  expect((await client.get(`${prefix}/subnets/10.5.1.0-24`).string())!).toContain("02:00:00:00:00:07");
});

test("an agent takes Flannel's place on a node: subnet, device and peers stay", async () => {
  await using etcd = await startEtcd();
  await using node = await makeNode("flannel", { uplink: true });
  const client = etcd.client();
  const prefix = "/coreos.com/network";
  await client.put(`${prefix}/config`).value('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}').exec();
  await client.put(`${prefix}/subnets/10.5.8.0-24`).value(lease("192.0.2.1", "02:00:00:00:00:08")).exec();
  await client.put(`${prefix}/subnets/10.5.9.0-24`).value(lease("192.0.2.9", "02:00:00:00:00:09")).exec();
  // As flanneld leaves it.
  await node.exec("bash", [
    "-ec",
    `ip link add flannel.1 address 02:00:00:00:00:08 mtu 1450 type vxlan id 1 dstport 8472 local 192.0.2.1 dev eth0 nolearning
     ip addr add 10.5.8.0/32 dev flannel.1; ip link set flannel.1 up
     ip neigh add 10.5.9.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent
     bridge fdb append 02:00:00:00:00:09 dev flannel.1 dst 192.0.2.9 self permanent
     ip route add 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink`,
  ]);
  const config = await configure(node, {
    node: "n1",
    source: `{type: flannel, hosts: ["${etcd.host}"]}`,
    plugins: [{ type: "vxlan", vni: 1, port: 8472 }],
  });
  await using agent = await startAgent(node, config);
  await agent.ready();
  const links = JSON.parse((await node.exec("ip", ["-j", "-d", "link", "show", "type", "vxlan"])).stdout);
  expect(links).toMatchObject([
    { ifname: "tenon.1", address: "02:00:00:00:00:08", linkinfo: { info_data: { port: 8472 } } },
  ]);
  const routes = JSON.parse((await node.exec("ip", ["-j", "route", "show", "10.5.9.0/24"])).stdout);
  expect(routes).toMatchObject([{ gateway: "10.5.9.0", dev: "tenon.1", protocol: "116" }]);
  expect((await node.exec("bridge", ["fdb", "show", "dev", "tenon.1"])).stdout).toContain(
    "02:00:00:00:00:09 dst 192.0.2.9",
  );
  const [own] = (await client.get(`${prefix}/subnets/10.5.8.0-24`).exec()).kvs;
  expect(own!.lease).not.toBe("0");
  // Flannel's nodes that come are heard of.
  await client.put(`${prefix}/subnets/10.5.10.0-24`).value(lease("192.0.2.10", "02:00:00:00:00:10")).exec();
  await until("it is routed", async () => (await node.exec("ip", ["route"])).stdout.includes("10.5.10.0/24 via"));
});
