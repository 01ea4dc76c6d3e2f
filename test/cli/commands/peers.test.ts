import { expect, test } from "bun:test";
import { tenonIn } from "../../helpers/explain.ts";
import { makeNode } from "../../helpers/node.ts";
import { tell } from "../../helpers/underlay.ts";

test("a table for each network; one that is not there is named", async () => {
  await using node = await makeNode("peers");
  expect(await tenonIn(node, "peers")).toMatchObject({ exitCode: 0, stdout: "No network leads to other nodes." });
  const nodes = [
    { name: "here", subnets: ["10.1.1.0/24"], addresses: ["192.0.2.1"] },
    { name: "there", subnets: ["10.1.2.0/24"], addresses: ["192.0.2.2"] },
  ];
  await tell(node, "here", nodes, "net");
  await tell(node, "here", nodes, "other");
  const { exitCode, stdout } = await tenonIn(node, "peers", "net");
  expect(exitCode).toBe(1); // not programmed
  expect(stdout).toBe(
    [
      "net: this is node here; 1 others",
      "  it is not programmed yet",
      "node   subnets      addresses  route  neighbour  forwarding",
      "there  10.1.2.0/24  192.0.2.2  ?      ?          ?",
    ].join("\n"),
  );
  expect((await tenonIn(node, "peers")).stdout).toContain("\n\nother: this is node here");
  const none = await tenonIn(node, "peers", "none");
  expect([none.exitCode, none.stderr]).toEqual([1, 'Cannot find network "none": it has no snapshot']);
});
