// The sweep in the node that it is started in.
//   bun sweep-process.ts '{"runtimes":[...]}' MINUTES [dry]     one look, as if so many minutes from now, and the removal:
//                                                             { report, done } as JSON
//   bun sweep-process.ts '{"runtimes":[...]}' every             all the time; { log } and { swept } as lines, until its input ends
import { look, type Options, sweep } from "../../cli/heal/sweep.ts";
import { startSweeping } from "../../cli/heal/sweeping.ts";
import { clock } from "../../lib/sys/libc.ts";

const [text, minutes, dry] = process.argv.slice(2);
const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
if (minutes === "every") {
  const sweeping = startSweeping(50, JSON.parse(text!), {
    log: (log) => say({ log }),
    swept: ({ waiting }, removed) => say({ swept: { waiting, removed } }),
  });
  process.stdin.resume().on("end", async () => {
    await sweeping.stop();
    process.exit(0);
  });
} else {
  const options: Options = { ...JSON.parse(text!), now: () => clock(7) / 1e6 + Number(minutes) * 60_000 };
  const report = await look(options, dry === "dry");
  say({ report, done: dry === "dry" ? [] : await sweep(report, options) });
}
