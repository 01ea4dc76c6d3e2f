// The schemas for editors: examples pass, what is wrong does not.
import { expect, test } from "bun:test";
import { readdir, readFile } from "node:fs/promises";
import { Ajv, type ValidateFunction } from "ajv";
import { suite } from "../../build/plugins.ts";
import { parseIp } from "../../lib/netlink/inet.ts";

const read = async (path: string) => JSON.parse(await readFile(`docs/${path}`, "utf8"));

async function validator(name: string): Promise<ValidateFunction> {
  const ajv = new Ajv({ allErrors: true, strict: true, strictTypes: false, strictRequired: false });
  ajv.addFormat("ipv4", (text) => parseIp(text)?.length === 4);
  ajv.addFormat("ipv6", (text) => parseIp(text)?.length === 16);
  return ajv.compile(await read(`schemas/${name}.schema.json`));
}

const files = (await readdir("docs/examples", { recursive: true })).filter((name) => name.endsWith(".conflist")).sort();
const examples = await Promise.all(files.map((file) => read(`examples/${file}`)));

test("every example is a list by the schema, and its plugins are by theirs", async () => {
  const isList = await validator("conflist");
  for (const list of examples) {
    expect([list.name, isList(list), isList.errors]).toEqual([list.name, true, null]);
    for (const plugin of list.plugins) {
      const isPlugin = await validator(plugin.type);
      expect([plugin.type, isPlugin(plugin), isPlugin.errors]).toEqual([plugin.type, true, null]);
    }
  }
});

test("every plugin has a schema that refuses an unknown key and another plugin's type", async () => {
  for (const type of Object.keys(suite)) {
    const isPlugin = await validator(type);
    const good = examples.flatMap(({ plugins }) => plugins).find((plugin) => plugin.type === type) ?? { type };
    expect([type, isPlugin({ ...good, notAKey: 1 })]).toEqual([type, false]);
    expect([type, isPlugin({ ...good, type: "other" })]).toEqual([type, false]);
  }
});

test("wrong lists are refused, with the place", async () => {
  const isList = await validator("conflist");
  const bridge = { type: "bridge", ipam: { type: "host-local", subnet: "10.1.0.0/16" } };
  const base = { cniVersion: "1.0.0", name: "n", plugins: [bridge] };
  const places = (change: object) => {
    isList({ ...base, ...change });
    return (isList.errors ?? []).map(({ instancePath }) => instancePath);
  };
  const plugin = (change: object) => places({ plugins: [{ ...bridge, ...change }] });
  expect(places({})).toEqual([]);
  expect(places({ cniVersion: "9.9" })).toContain("/cniVersion");
  expect(places({ name: "a/b" })).toContain("/name");
  expect(places({ plugins: [] })).toContain("/plugins");
  expect(places({ disableCheck: "yes" })).toContain("/disableCheck");
  expect(plugin({ mtu: "x" })).toContain("/plugins/0/mtu");
  expect(plugin({ vlan: 5000 })).toContain("/plugins/0/vlan");
  expect(plugin({ ipMask: true })).toContain("/plugins/0");
  expect(plugin({ masqExempt: ["all"] })).toContain("/plugins/0/masqExempt/0");
  expect(plugin({ ipam: { type: "host-local", rnages: [] } })).toContain("/plugins/0/ipam");
  expect(plugin({ ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0" }]] } })).toContain(
    "/plugins/0/ipam/ranges/0/0/subnet",
  );
  expect(plugin({ ipam: { type: "static", addresses: [{ gateway: "10.0.0.1" }] } })).toContain(
    "/plugins/0/ipam/addresses/0",
  );
  expect(places({ plugins: [{ type: "chain", plugins: [{ ...bridge, mtu: "x" }] }] })).toContain(
    "/plugins/0/plugins/0/mtu",
  );
});

test("others' plugins and others' IPAM may hold what they like", async () => {
  const isList = await validator("conflist");
  const list = {
    cniVersion: "1.0.0",
    name: "n",
    plugins: [
      { type: "calico", any: { thing: 1 } },
      { type: "bridge", ipam: { type: "dhcp", daemonSocketPath: "/x" } },
    ],
  };
  expect([isList(list), isList.errors]).toEqual([true, null]);
});
