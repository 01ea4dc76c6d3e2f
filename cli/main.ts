#!/usr/bin/env bun
// tenon: the command for people, and the agent. One file per command in cli/commands; each parses its own arguments.
import { type Command, table, UsageError } from "./command.ts";
import { agent } from "./commands/agent.ts";
import { completion } from "./commands/completion.ts";
import { explain } from "./commands/explain.ts";
import { gc } from "./commands/gc.ts";
import { lint } from "./commands/lint.ts";
import { peers } from "./commands/peers.ts";
import { repair } from "./commands/repair.ts";
import { status } from "./commands/status.ts";
import { version } from "./commands/version.ts";

const commands: Record<string, Command> = {
  status,
  peers,
  explain,
  lint,
  repair,
  gc,
  agent,
  completion: completion(() => commands),
  version,
};

function help(): string {
  const list = Object.entries(commands).map(([name, { summary }]) => [`  ${name}`, summary]);
  return `Usage: tenon COMMAND [ARGUMENT...]\n\n${table(["  command", ""], list)}\ntenon COMMAND --help tells more.\n`;
}

/** Runs a command; its exit status. */
export async function run(args: string[]): Promise<number> {
  const [name = "", ...rest] = args;
  if (name === "" || name === "--help" || name === "help") {
    process.stdout.write(help());
    return name === "" ? 2 : 0;
  }
  const command = Object.hasOwn(commands, name) ? commands[name]! : undefined;
  if (!command) {
    process.stderr.write(`Cannot run "${name}": there is no such command; tenon --help lists them\n`);
    return 2;
  }
  if (rest.includes("--help")) {
    process.stdout.write(`${command.usage.trim()}\n`);
    return 0;
  }
  try {
    return await command.run(rest);
  } catch (error) {
    // node:util's parseArgs throws TypeErrors whose codes begin so.
    const isUsage = error instanceof UsageError || `${(error as { code?: string }).code}`.startsWith("ERR_PARSE_ARGS");
    process.stderr.write(`${(error as Error).message}\n`);
    return isUsage ? 2 : 1;
  }
}

if (import.meta.main) process.exitCode = await run(process.argv.slice(2));
