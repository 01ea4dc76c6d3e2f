// The sweep of dead attachments as a task of the agent (cli/heal/sweep.ts), counted.
import { livingApart } from "../heal/living-apart.ts";
import { type Sweeping, startSweeping } from "../heal/sweeping.ts";
import type { Settings } from "./settings.ts";
import type { Ground, Task } from "./task.ts";

export function sweeping({ metrics, log }: Ground, { intervals, runtimes, plugins }: Settings): Task {
  let running: Sweeping | undefined;
  return {
    async start() {
      if (intervals.sweep === 0) return;
      const swept = ({ refusals }: { refusals: readonly string[] }, removed: number) => {
        metrics.sweeps.inc({ result: refusals.length > 0 ? "refused" : "done" });
        metrics.swept.inc(removed);
      };
      running = startSweeping(
        intervals.sweep * 1000,
        { runtimes, plugins, living: livingApart },
        { log: (text) => log.say(text), swept },
      );
    },
    async stop() {
      await running?.stop();
    },
  };
}
