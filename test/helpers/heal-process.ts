// A process that heals the network namespace it is started in, as the agent does. Options as JSON in its argument, then the
// folder of plugins; what is
// said and brought back comes out as lines of JSON: { ready }, { log }, { repaired }, and for each line of its input the
// counters. It ends with its input.
import { detach } from "../../cli/heal/detach.ts";
import { type Options, startHealing } from "../../cli/heal/heal.ts";

const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
const healing = await startHealing({
  ...(JSON.parse(process.argv[2] ?? "{}") as Options),
  log: (log) => say({ log }),
  repaired: (repaired) => say({ repaired }),
  forsake: async (attachment) => {
    await detach(attachment, [process.argv[3]!]);
    say({ forsaken: attachment.label });
  },
});
say({ ready: true });
process.stdin.on("data", () => say({ counters: healing.counters, cpu: process.cpuUsage() }));
process.stdin.on("end", async () => {
  await healing.stop();
  process.exit(0);
});
