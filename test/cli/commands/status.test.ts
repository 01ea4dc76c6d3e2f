import { expect, test } from "bun:test";
import { remember, tenonIn, twoPods } from "../../helpers/explain.ts";
import { makeNode } from "../../helpers/node.ts";

test("for people: a table, what else is missing below it, the agent", async () => {
  const { node, a, b, conf } = await twoPods({ ipMasq: true });
  try {
    for (const pod of [a, b]) await remember(node, pod, conf);
    const well = await tenonIn(node, "status");
    expect(well.exitCode).toBe(0);
    expect(well.stdout).toMatch(
      /^network +container +interface +addresses +link +bridge +since\nnet +a +eth0 +10\.1\.0\.2 fd00:1::2 +tn\w{13} +cni0 +\d+ s +ok\nnet +b /,
    );
    expect(well.stdout).toEndWith("\n\nagent: none");
    await node.exec("ip", ["link", "delete", a.result.interfaces[1].name]);
    const broken = await tenonIn(node, "status");
    expect(broken.exitCode).toBe(1);
    expect(broken.stdout).toMatch(/\nnet +a .* link tn\w{13} is gone\n/);
  } finally {
    await node.close();
  }
});

test("an empty node", async () => {
  await using node = await makeNode("empty");
  const { exitCode, stdout } = await tenonIn(node, "status");
  expect([exitCode, stdout.split("\n")[0]]).toEqual([0, "No pod is attached."]);
});
