import { expect, test } from "bun:test";
import { resolve } from "node:path";

test("memory is given back once, when work has paused; an end waits for it not", async () => {
  const script = `
    import { rest } from "${resolve("cli/agent/rest.ts")}";
    let count = 0;
    Bun.gc = () => ++count;
    for (let at = 0; at < 5; at++, await Bun.sleep(20)) rest();
    const early = count;
    await Bun.sleep(3300);
    const late = count;
    rest();
    console.log(early, late);`;
  const { stdout } = Bun.spawnSync([process.execPath, "-e", script]);
  expect(stdout.toString().trim()).toBe("0 1");
});
