import { expect, test } from "bun:test";
import { appendFile, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileSource, readNodes } from "../../../cli/agent/file-source.ts";
import type { PeerNode } from "../../../lib/peers/snapshot.ts";

const nodes = (...names: string[]) =>
  names.map((name) => ({ name, subnets: [`10.244.${name.slice(1)}.0/24`], addresses: [`192.0.2.${name.slice(1)}`] }));

test("a snapshot, an object and a list are read, as JSON and as YAML", () => {
  const wanted = nodes("n1", "n2");
  const yaml = `
- name: n1
  subnets: [10.244.1.0/24]
  addresses: [192.0.2.1]
- name: n2
  subnets: [10.244.2.0/24]
  addresses: [192.0.2.2]
`;
  for (const text of [
    JSON.stringify(wanted),
    JSON.stringify({ nodes: wanted }),
    JSON.stringify({ version: 1, network: "pods", self: "n9", nodes: wanted }),
    yaml,
    `nodes:${yaml.replaceAll("\n", "\n  ")}`,
  ])
    expect(readNodes(text, "/f", "pods", "n1")).toEqual(wanted);
});

test("what cannot be used is told of by its file", () => {
  const wrong: [string, string][] = [
    [" \n", 'Cannot use "/f": it is empty'],
    ["{", 'Cannot use "/f": '],
    ["a: [", 'Cannot use "/f": '],
    ["[]", "its list of nodes is empty"],
    ["nodes: 3", "it holds no list of nodes"],
    [JSON.stringify(nodes("n2")), 'Cannot use self "n1": must be the name of one of the nodes (in "/f")'],
    [JSON.stringify({ network: "x", nodes: nodes("n1") }), 'it is of network "x", not "pods"'],
    [JSON.stringify([...nodes("n1"), ...nodes("n1")]), "another node has that name"],
  ];
  for (const [text, why] of wrong) expect(() => readNodes(text, "/f", "pods", "n1")).toThrow(why);
});

/** A source of a file in a folder of its own, and what it told. */
async function start(look?: number) {
  const folder = await mkdtemp(join(tmpdir(), "tenon-file-"));
  const file = join(folder, "cfg/peers.json");
  await mkdir(dirname(file));
  const told: (readonly PeerNode[])[] = [];
  const troubles: (string | undefined)[] = [];
  const source = fileSource(file, "pods", "n1", look);
  source.start({ nodes: (all) => told.push(all), trouble: (text) => troubles.push(text), refused: () => {} });
  return {
    folder,
    file,
    told,
    troubles,
    names: () =>
      told
        .at(-1)
        ?.map(({ name }) => name)
        .join(),
    async replace(text: string) {
      await writeFile(`${file}.new`, text);
      await rename(`${file}.new`, file);
    },
    async [Symbol.asyncDispose]() {
      await source.stop();
      await rm(folder, { recursive: true });
    },
  };
}

async function until(what: string, condition: () => boolean) {
  for (let tries = 0; tries < 300; tries++, await Bun.sleep(20)) if (condition()) return;
  throw new Error(`Cannot see that ${what}`);
}

test("a file is followed, however it is written; a bad one leaves the last good list", async () => {
  await using source = await start();
  const { file, told, troubles, names, replace } = source;
  await until("it is missing", () => troubles.at(-1)?.includes("ENOENT") ?? false);
  await replace(JSON.stringify(nodes("n1")));
  await until("it is read", () => names() === "n1");
  expect(troubles.at(-1)).toBeUndefined();
  await replace(JSON.stringify(nodes("n1", "n2")));
  await until("the next one is read", () => names() === "n1,n2");
  expect(told.at(-1)![0]).toBe(told.at(-2)![0]!);

  for (const bad of ["", "{", JSON.stringify(nodes("n2"))]) {
    const before = troubles.length;
    await replace(bad);
    await until("it is told of", () => troubles.slice(before).some((text) => text !== undefined));
    expect(names()).toBe("n1,n2");
  }
  // In place, in two strokes: what is whole by chance in between is not taken.
  await replace(JSON.stringify(nodes("n1", "n2")));
  await until("it is well", () => troubles.at(-1) === undefined);
  const lists = told.length;
  const text = nodes("n1", "n2", "n3").map((node) => JSON.stringify(node));
  await writeFile(file, `- ${text[0]}\n`);
  await appendFile(file, `- ${text[1]}\n- ${text[2]}\n`);
  await until("it is read", () => names() === "n1,n2,n3");
  expect(told.length).toBe(lists + 1);
  // A link that is led elsewhere.
  await writeFile(join(dirname(file), "other"), JSON.stringify(nodes("n1", "n4")));
  await symlink("other", `${file}.new`);
  await rename(`${file}.new`, file);
  await until("it is read", () => names() === "n1,n4");
});

test("a file that is written in place is taken when it is whole, be it looked at or made anew meanwhile", async () => {
  await using source = await start(20);
  const { file, told, names, replace } = source;
  const lines = nodes(...Array.from({ length: 20 }, (_, at) => `n${at + 1}`)).map(
    (one) => `- ${JSON.stringify(one)}\n`,
  );
  await replace(lines.join(""));
  await until("it is read", () => told.length === 1);
  let at = 30;
  for (const before of ["", "removed"])
    for (;;) {
      const from = told.length;
      let longest = 0;
      if (before === "removed") await rm(file);
      await writeFile(file, lines[0]!);
      const [last] = nodes(`n${at++}`);
      for (const line of [...lines.slice(1), `- ${JSON.stringify(last)}\n`]) {
        const began = performance.now();
        await Bun.sleep(30);
        await appendFile(file, line);
        longest = Math.max(longest, performance.now() - began);
      }
      await until("it is read", () => names()?.endsWith(last!.name) ?? false);
      // On a busy machine the file was quiet for a while: once more.
      if (longest > 150) continue;
      expect(told.slice(from).filter((list) => list.length < lines.length)).toEqual([]);
      break;
    }
});

test("a folder that was away and is back is well again", async () => {
  await using source = await start(20);
  const { folder, told, troubles, replace } = source;
  await replace(JSON.stringify(nodes("n1")));
  await until("it is read", () => told.length === 1);
  await rename(join(folder, "cfg"), join(folder, "away"));
  await until("it is missed", () => troubles.at(-1)?.includes("ENOENT") ?? false);
  await rename(join(folder, "away"), join(folder, "cfg"));
  await until("it is well", () => troubles.at(-1) === undefined);
});
