import { expect, test } from "bun:test";
import { dropAnchor } from "../../../cli/heal/anchor.ts";
import { openNamespace } from "../../../lib/netns/netns.ts";
import { until } from "../../helpers/healing.ts";
import { makeNode } from "../../helpers/node.ts";

test("the anchor outlives a flushed ruleset, is nobody else's, and goes with its owner", async () => {
  await using node = await makeNode("anchor");
  const ns = openNamespace(node.path("/proc/1/ns/net"));
  const tables = async () => (await node.exec("nft", ["list", "tables"])).stdout;
  const anchor = ns.run(dropAnchor);
  expect(anchor.refused).toBeUndefined();
  await node.exec("nft", ["add table inet other"]);
  await node.exec("nft", ["flush", "ruleset"]);
  expect(await tables()).toBe("table inet tenon-agent");
  const second = ns.run(dropAnchor);
  expect(second.refused).toContain("operation not permitted");
  second.close();
  expect(await tables()).toBe("table inet tenon-agent");
  anchor.close();
  expect(await until(tables, (text) => text === "")).toBe("");
  ns.close();
});
