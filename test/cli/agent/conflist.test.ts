import { expect, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, stat, watch } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathsIn, renderConflist, writeConflist } from "../../../cli/agent/conflist.ts";

const facts = {
  node: "n1",
  network: "pods",
  subnets: ["10.244.3.0/24", "fd00:3::/64"],
  cluster: ["10.244.0.0/16", "fd00::/16"],
};
const render = (text: string, more = {}) => renderConflist(text, "/t", { ...facts, ...more });

test("placeholders become text, lists and ranges", () => {
  const template = JSON.stringify({
    cniVersion: "1.0.0",
    name: "{{network}}",
    plugins: [
      { type: "bridge", masqExempt: "{{clusterCidrs}}", ipam: { type: "host-local", ranges: "{{podRanges}}" } },
      {
        type: "x",
        a: "{{podSubnet4}}",
        b: "{{podSubnet6}}",
        c: "of {{node}} in {{network}}",
        d: ["{{podSubnets}}", 1, null],
      },
    ],
  });
  expect(render(template) as unknown).toEqual({
    cniVersion: "1.0.0",
    name: "pods",
    plugins: [
      {
        type: "bridge",
        masqExempt: facts.cluster,
        ipam: { type: "host-local", ranges: [[{ subnet: "10.244.3.0/24" }], [{ subnet: "fd00:3::/64" }]] },
      },
      { type: "x", a: "10.244.3.0/24", b: "fd00:3::/64", c: "of n1 in pods", d: [facts.subnets, 1, null] },
    ],
  });
});

test("a template that cannot be used is told of by its file", () => {
  const wrong: [string, string][] = [
    ["{", 'Cannot use the template "/t": '],
    ['{"name":"{{nam}}"}', "{{nam}} is none of node, network, podSubnets"],
    ['{"name":"{{podSubnet6}}"}', "this node has nothing for {{podSubnet6}}"],
    ['{"name":"a {{podSubnets}}"}', "{{podSubnets}} is a list, which must be a string's only content"],
    ['{"name":"others","plugins":[]}', `its name must be the network's, "pods", and is "others"`],
    ['{"name":"pods"}', '"plugins" must be a list of plugins, each with its "type"'],
    ['{"name":"pods","plugins":[{}]}', '"plugins" must be a list of plugins, each with its "type"'],
  ];
  for (const [text, why] of wrong) expect(() => render(text, { subnets: ["10.244.3.0/24"] })).toThrow(why);
});

test("what leads to other nodes is found among the plugins", () => {
  const plugins = [{ type: "bridge" }, { type: "vxlan", vni: 7 }];
  expect(pathsIn({ name: "pods", plugins })).toMatchObject([{ network: "pods", tunnel: { vni: 7 } }]);
  expect(() => pathsIn({ name: "pods", plugins: [{ type: "vxlan", vni: -1 }] })).toThrow("vni");
  const both = [...plugins, { type: "routes", offSubnet: "skip" }];
  expect(() => pathsIn({ name: "pods", plugins: both })).toThrow('Cannot use "vxlan" and "routes" in one network');
});

test("a conflist appears whole, by renaming, and only if something changed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-conflist-"));
  try {
    const to = join(folder, "net.d/10-pods.conflist");
    const conflist = { name: "pods", plugins: [{ type: "bridge" }] };
    expect(await writeConflist(conflist, to)).toBe(true);
    expect(JSON.parse(await readFile(to, "utf8"))).toEqual(conflist);
    const { ino } = await stat(to);
    expect(await writeConflist(conflist, to)).toBe(false);
    const names: (string | null)[] = [];
    const ended = new AbortController();
    const watching = (async () => {
      for await (const { filename } of watch(join(folder, "net.d"), { signal: ended.signal })) names.push(filename);
    })().catch(() => {});
    await Bun.sleep(50);
    conflist.plugins.push({ type: "portmap" });
    expect(await writeConflist(conflist, to)).toBe(true);
    await Bun.sleep(50);
    ended.abort();
    await watching;
    expect((await stat(to)).ino).not.toBe(ino);
    // No runtime reads the draft, whatever it watches.
    expect(names.filter((name) => name !== "10-pods.conflist" && /\.(conf|conflist|json)$/.test(name ?? ""))).toEqual(
      [],
    );
    expect(await readdir(join(folder, "net.d"))).toEqual(["10-pods.conflist"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
