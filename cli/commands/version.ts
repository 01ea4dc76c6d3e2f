// tenon version: of this suite, and of the specification it speaks.
import { versions } from "../../lib/cni/result.ts";
import { version as ours } from "../../package.json";
import type { Command } from "../command.ts";

export const version: Command = {
  summary: "of this suite, and the versions of the CNI specification that it speaks",
  usage: "Usage: tenon version",
  run: () => {
    process.stdout.write(`tenon ${ours}\nCNI ${versions.join(", ")}\n`);
    return 0;
  },
};
