// What the shells make of it: each runs its script.
import { expect, test } from "bun:test";
import { execa } from "execa";
import { command } from "../../cli/command.ts";
import { completion } from "../../cli/completion.ts";

const commands = {
  look: command({
    name: "look",
    summary: "looks at: things [some]",
    takes: "WORD",
    operands: "shell",
    options: {
      dir: { value: "FOLDER", word: "directory", short: "d", about: "it's here" },
      json: { about: "for [programs]: one document" },
    },
    run: () => 0,
  }),
  leap: command({ name: "leap", summary: "leaps", takes: "FILE", operands: "file", options: {}, run: () => 0 }),
};

/** What bash offers after these words, the last one begun. */
async function bash(...words: string[]): Promise<string[]> {
  const script = `${completion("bash", commands)}\nCOMP_WORDS=("$@"); COMP_CWORD=$((\${#COMP_WORDS[@]}-1)); word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}; _tenon tenon "$word" "$before"; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await execa("bash", ["-c", script, "bash", "tenon", ...words]);
  return stdout.split("\n").filter(Boolean).sort();
}

test("bash is offered commands, options, and what values and operands may be", async () => {
  expect(await bash("l")).toEqual(["leap", "look"]);
  expect(await bash("look", "--")).toEqual(["--dir", "--help", "--json"]);
  expect(await bash("look", "z")).toEqual(["zsh"]);
  expect(await bash("look", "-d", "/proc/sel")).toEqual(["/proc/self"]);
  expect(await bash("leap", "/proc/self/cmdl")).toEqual(["/proc/self/cmdline"]);
});

test("fish is offered the same, with the texts", async () => {
  const offered = async (line: string) => {
    const script = `${completion("fish", commands)}\ncomplete -C ${JSON.stringify(line)}`;
    const { stdout } = await execa("fish", ["--no-config", "-c", script], { env: { HOME: "/nonexistent" } });
    return stdout.split("\n").sort();
  };
  expect(await offered("tenon l")).toEqual(["leap\tleaps", "look\tlooks at: things [some]"]);
  expect(await offered("tenon look --")).toEqual(["--dir\tit's here", "--json\tfor [programs]: one document"]);
  expect(await offered("tenon look z")).toEqual(["zsh"]);
});

test("zsh hands the same to its own completion system", async () => {
  const script = [
    '_arguments() { print -rl -- "$@" }',
    `_describe() { print -rl -- "\${(@P)2}" }`,
    'compdef() { print "compdef $@" }',
    completion("zsh", commands),
    "words=(tenon l); CURRENT=2; _tenon",
    "words=(tenon look x); CURRENT=3; _tenon",
  ].join("\n");
  const { stdout } = await execa("zsh", ["-f", "-c", script]);
  expect(stdout.split("\n")).toEqual([
    "compdef _tenon tenon",
    "look:looks at: things [some]",
    "leap:leaps",
    "--help[what it does]",
    "--dir[it's here]:FOLDER:_files -/",
    "-d[it's here]:FOLDER:_files -/",
    "--json[for \\[programs\\]\\: one document]",
    "*:shell:{ compadd -- $(printf '%s\\n' bash zsh fish) }",
  ]);
});
