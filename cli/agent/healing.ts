// Self-healing as a task of the agent: what others take away is brought back (cli/heal), and counted.
import { detach } from "../heal/detach.ts";
import { type Healing, startHealing } from "../heal/heal.ts";
import { rest } from "./rest.ts";
import type { Settings } from "./settings.ts";
import type { Ground, Task } from "./task.ts";

export function healing(
  { metrics, log, repair, networks }: Ground,
  { results, plugins, anchor, intervals }: Settings,
): Task {
  let running: Healing | undefined;
  return {
    async start() {
      running = await startHealing({
        caches: results,
        // By what the agent knows, which may be newer than what the file says.
        mend: ({ network }) => repair(network),
        networks: () => networks().flatMap(({ paths, snapshot }) => (snapshot ? paths : [])),
        snapshot: ({ network }) => networks().find(({ name }) => name === network)?.snapshot,
        rest,
        repaired({ kind, name, why, failure }) {
          // Those of a network's paths are counted one by one where they are put back.
          if (kind !== "peers") metrics.repairs.inc({ network: "", kind });
          log.say(
            failure === undefined ? `put back ${kind} ${name}: ${why}` : `cannot put back ${kind} ${name}: ${failure}`,
          );
        },
        log: (text) => log.say(text),
        anchor,
        forsake: (attachment) => detach(attachment, plugins),
        every: intervals.compare * 1000,
      });
    },
    async stop() {
      await running?.stop();
    },
  };
}
