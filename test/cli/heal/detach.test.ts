import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { anySteps, detach } from "../../../cli/heal/detach.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenon-detach-"));
});
afterAll(() => rm(folder, { recursive: true }));

const program = (name: string, text: string) => writeFile(join(folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
const step = (type: string) => ({ type, json: { type, name: "n", cniVersion: "1.0.0" } });
const gone = { network: "n", containerId: "c", ifname: "eth0", args: "A=b" };

test("DEL of each plugin, the last first, without a namespace; what fails is told after all had their turn", async () => {
  const seen = join(folder, "seen");
  const note = `echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS [$CNI_NETNS] $(cat)" >> ${seen}`;
  await program("first", note);
  await program("last", `${note}; echo '{"code":7,"msg":"no"}'; exit 1`);
  const steps = [step("first"), step("missing"), step("last")];
  const error = await detach({ ...gone, steps }, [join(folder, "none"), folder]).catch((error) => error);
  expect(error.errors.map(({ message }: Error) => message)).toEqual([
    'Cannot run DEL of last: {"code":7,"msg":"no"}',
    expect.stringContaining("Cannot run DEL of missing: there is no such plugin in"),
  ]);
  expect((await readFile(seen, "utf8")).trim().split("\n")).toEqual(
    ["last", "first"].map((type) => `DEL c eth0 A=b [] ${JSON.stringify(step(type).json)}`),
  );
});

test("an attachment whose list nobody remembers is removed by every plugin, its address last", () => {
  const types = anySteps("n", ["/a", "/b"]).map(({ type, json }) => (json.ipam as any)?.dataDir ?? type);
  expect(types).toEqual(["/a", "/b", "bridge", "portmap", "firewall", "bandwidth", "tuning"]);
});
