// Runs the command `tenon` from its sources, as people run the executable.
import { join } from "node:path";
import { execa } from "execa";

const bun = join(import.meta.dir, "../../node_modules/.bin/bun");
const main = join(import.meta.dir, "../../cli/main.ts");

export const tenon = (...args: string[]) => execa(bun, [main, ...args], { reject: false });
