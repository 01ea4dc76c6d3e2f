// The sweep again and again, as the agent runs it.
import { look, type Options, type Report, sweep } from "./sweep.ts";

export interface Sweeping {
  /** Ends it; a sweep that is under way is finished. */
  stop(): Promise<void>;
}

/** Sweeps now, and every so many milliseconds from then on. What cannot be swept, and why, is said when it changes. */
export function startSweeping(
  every: number,
  options: Options,
  { log, swept }: { log(text: string): void; swept?(report: Report, removed: number): void },
): Sweeping {
  let said = "";
  const round = async () => {
    const report = await look(options);
    const why = report.refusals.join("; ");
    if (why !== said) log(why === "" ? "What is dead is swept again" : `Nothing is swept: ${why}`);
    said = why;
    const done = await sweep(report, options);
    for (const { label, failure } of done)
      log(
        failure === undefined ? `Removed what ${label} had left` : `Cannot remove what ${label} has left: ${failure}`,
      );
    swept?.(report, done.filter(({ failure }) => failure === undefined).length);
  };
  let running: Promise<void> | undefined;
  const run = () => {
    running ??= round()
      .catch((error) => log(`Cannot sweep: ${(error as Error).message}`))
      .finally(() => {
        running = undefined;
      });
  };
  const timer = setInterval(run, every);
  run();
  return {
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
