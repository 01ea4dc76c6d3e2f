// One process among many that masquerade and guard attachments in the network namespace it is started in:
//   bun test/helpers/rules-process.ts '[["ensureMasquerade", {...}], ["sweepMasquerade", {...}]]' [GO [TIMES]]
// Waits for the file GO, if one is named, then calls the verbs in order, so many times; the first that fails ends it, and
// its message is all that is printed.
import { existsSync } from "node:fs";
import { checkMasquerade, ensureMasquerade, removeMasquerade, sweepMasquerade } from "../../lib/ip/masquerade.ts";
import { checkSpoofCheck, ensureSpoofCheck, removeSpoofCheck, sweepSpoofCheck } from "../../lib/ip/spoof-check.ts";
import { host } from "../../lib/netns/netns.ts";

const masquerade = { ensureMasquerade, checkMasquerade, removeMasquerade, sweepMasquerade };
const spoofCheck = { ensureSpoofCheck, checkSpoofCheck, removeSpoofCheck, sweepSpoofCheck };
const verbs = { ...masquerade, ...spoofCheck };

/** A verb and its argument; what sweeping keeps is a list here. */
export type Step = {
  [V in keyof typeof verbs]: [V, Plain<Parameters<(typeof verbs)[V]>[1]>];
}[keyof typeof verbs];
type Plain<T> = { [K in keyof T]: T[K] extends ReadonlySet<infer E> ? E[] : T[K] };

if (import.meta.main) {
  const [steps, go, times = "1"] = process.argv.slice(2);
  const plan: [keyof typeof verbs, any][] = JSON.parse(steps!);
  while (go && !existsSync(go)) Bun.sleepSync(1);
  for (let time = 0; time < Number(times); time++) {
    for (const [verb, argument] of plan) {
      try {
        verbs[verb](host, { ...argument, keep: new Set(argument.keep) });
      } catch (error) {
        console.log(`${verb}, time ${time}: ${error}`);
        process.exit(1);
      }
    }
  }
}
