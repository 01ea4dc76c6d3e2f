import { expect, test } from "bun:test";
import { makeLog } from "../../../cli/agent/log.ts";
import { readSettings } from "../../../cli/agent/settings.ts";
import { sourceOf } from "../../../cli/agent/source.ts";

const conflist = "{ template: /t, to: /nowhere/10.conflist }";
const kinds: [settings: string, trouble: string][] = [
  ["source: { type: file, path: /nowhere/peers.json }", "/nowhere/peers.json"],
  ["source: { type: etcd, hosts: [unix:/nowhere/etcd] }, cluster: [{ cidr: 10.0.0.0/8, size: 24 }]", "/nowhere/etcd"],
];

for (const [text, trouble] of kinds) {
  test(`${text.split(",")[0]} } tells its trouble instead of failing, and ends`, async () => {
    const settings = readSettings(
      `{ node: n1, state: /nowhere, networks: [{ name: pods, addresses: [192.0.2.1], ${text}, conflist: ${conflist} }] }`,
      "agent.yaml",
    );
    const source = await sourceOf(
      settings.networks[0]!,
      settings,
      makeLog(() => {}),
    );
    const told = await new Promise<string | undefined>((resolve) => {
      source.start({ nodes: () => {}, refused: () => {}, trouble: resolve });
    });
    expect(told).toContain(trouble);
    await source.stop();
  });
}
