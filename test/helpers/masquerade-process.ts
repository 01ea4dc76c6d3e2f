// One process among many that masquerade attachments in the network namespace it is started in:
//   bun test/helpers/masquerade-process.ts GO '[{"do":"ensure","network":...}, ...]'
// Waits for the file GO, then does the steps in order; the first that fails ends it with exit code 1 and its message.
import { existsSync } from "node:fs";
import {
  checkMasquerade,
  ensureMasquerade,
  type Masquerade,
  removeMasquerade,
  sweepMasquerade,
} from "../../lib/ip/masquerade.ts";
import { host } from "../../lib/netns/netns.ts";

export type Step =
  | ({ do: "ensure" | "check" | "remove" } & Masquerade)
  | { do: "sweep"; network: string; keep: string[] };

function run(step: Step): void {
  if (step.do === "sweep") sweepMasquerade(host, { network: step.network, keep: new Set(step.keep) });
  else if (step.do === "ensure") ensureMasquerade(host, step);
  else if (step.do === "check") checkMasquerade(host, step);
  else removeMasquerade(host, step);
}

if (import.meta.main) {
  const [go, steps] = process.argv.slice(2);
  const plan: Step[] = JSON.parse(steps!);
  while (!existsSync(go!)) Bun.sleepSync(1);
  for (const [at, step] of plan.entries()) {
    try {
      run(step);
    } catch (error) {
      console.error(`step ${at}, ${step.do}: ${error}`);
      process.exit(1);
    }
  }
}
