// Interleaved measuring: in every round each side does all steps in turn (so one pod lives at a time), the order of the
// sides rotated by round: what disturbs the machine disturbs all alike. Trust the ratios more than the milliseconds.
import { type Command, peakMemory, type Run, run, runTogether, settle } from "./driver.ts";
import type { Side } from "./node.ts";
import { median, type Ratio, ratio } from "./statistics.ts";

/** One thing that every side does in every round; `done` sees the run, `pause` in ms lets the machine rest before it. */
export type Step = {
  name: string;
  pause?: number;
  command: (side: Side, round: number) => Command;
  done?: (side: Side, run: Run) => void;
};
/** Like a step, for many processes at once. */
export type Batch = Omit<Step, "command" | "done"> & {
  commands: (side: Side, round: number) => Command[];
  done?: (side: Side, runs: Run[]) => void;
};
/** Like a step, for processes one after the other, each made with what the one before said: their times are added. */
export type Series = Omit<Step, "command" | "done"> & {
  commands: (side: Side, round: number) => Generator<Command, void, Run>;
};
export type Samples = { ms: number[]; cpu: number[]; failures: string[] };
export type Measured = Map<string, Map<string, Samples>>;

/** A line of the report: medians by side, `ratio` of the second to the first named, `target` the highest ratio wanted. */
export type Row = {
  name: string;
  rounds: number;
  ms: Record<string, number>;
  cpu: Record<string, number>;
  ratio?: Ratio;
  target?: number;
  failures: string[];
};
export type Memory = { name: string; megabytes: Record<string, number> };
/**
 * What a group of cases found: `rows` beside the reference; `growth`, `ports` and `peers` of ours beside ours with less; `across`
 * of ours beside what was made by hand.
 */
export type Findings = { rows: Row[]; growth?: Row[]; ports?: Row[]; peers?: Row[]; across?: Row[]; memory?: Memory[] };

/** Single processes, `rounds` of them after two that do not count. */
export function interleave(sides: Side[], rounds: number, steps: Step[]): Measured {
  const batches = steps.map(
    ({ command, done, ...step }): Batch => ({
      ...step,
      commands: (side, round) => [command(side, round)],
      done: (side, runs) => done?.(side, runs[0]!),
    }),
  );
  return interleaveBatches(sides, rounds, batches, 2);
}

/** Batches of processes that run at the same time; the time is the wall time of the batch. */
export function interleaveBatches(sides: Side[], rounds: number, steps: Batch[], warmups = 1): Measured {
  return inTurns(sides, rounds, warmups, steps, (side, round, step) => {
    const { ms, runs } = runTogether(step.commands(side, round));
    const cpu = runs.reduce((sum, each) => sum + each.cpu, settle());
    step.done?.(side, runs);
    return { ms, cpu, runs };
  });
}

/** Series of processes; the time is theirs, without what is between them. Two rounds before do not count. */
export function interleaveSeries(sides: Side[], rounds: number, steps: Series[]): Measured {
  return inTurns(sides, rounds, 2, steps, (side, round, step) => {
    const all = { ms: 0, cpu: 0, runs: [] as Run[] };
    const commands = step.commands(side, round);
    for (let next = commands.next(); !next.done; ) {
      const done = run(next.value);
      all.ms += done.ms;
      all.cpu += done.cpu;
      all.runs.push(done);
      next = commands.next(done);
    }
    all.cpu += settle();
    return all;
  });
}

function inTurns<S extends { name: string; pause?: number }>(
  sides: Side[],
  rounds: number,
  warmups: number,
  steps: S[],
  measure: (side: Side, round: number, step: S) => { ms: number; cpu: number; runs: Run[] },
): Measured {
  const found: Measured = new Map(steps.map(({ name }) => [name, new Map(sides.map((side) => [side.name, empty()]))]));
  for (let round = -warmups; round < rounds; round++) {
    for (const side of rotate(sides, round + warmups)) {
      side.enter();
      for (const step of steps) {
        if (step.pause) Bun.sleepSync(step.pause);
        const { ms, cpu, runs } = measure(side, round, step);
        const samples = found.get(step.name)!.get(side.name)!;
        const failed = runs.filter(({ status }) => status !== 0);
        for (const { status, output } of failed) samples.failures.push(`exit ${status}: ${oneLine(output)}`);
        if (round < 0) continue;
        samples.ms.push(failed.length ? Number.NaN : ms);
        samples.cpu.push(failed.length ? Number.NaN : cpu);
      }
    }
  }
  return found;
}

/** The line for one measured step; `pair` names the two sides compared. */
export function row(name: string, samples: Map<string, Samples>, target?: number, pair = ["reference", "ours"]): Row {
  const [theirs, ours] = pair.map((side) => samples.get(side));
  const each = (pick: (samples: Samples) => number) =>
    Object.fromEntries([...samples].map(([side, found]) => [side, pick(found)]));
  return {
    name,
    rounds: Math.max(...[...samples.values()].map(({ ms }) => ms.length)),
    ms: each(({ ms }) => median(ms)),
    cpu: each(({ cpu }) => median(cpu)),
    ratio: ours && theirs && ratio(ours.ms, theirs.ms),
    target,
    failures: [...samples].flatMap(([side, { failures }]) => failures.map((text) => `${side} ${text}`)),
  };
}

/** Peak memory of each side's steps: medians of five rounds, apart from the timing because a shell stands between. */
export function memory(name: (step: string) => string, sides: Side[], steps: Step[]): Memory[] {
  const found = steps.map(() => new Map(sides.map((side) => [side.name, [] as number[]])));
  for (let round = 0; round < 5; round++) {
    for (const [at, step] of steps.entries()) {
      for (const side of rotate(sides, round)) {
        side.enter();
        const { megabytes, run } = peakMemory(step.command(side, 1000 + round));
        step.done?.(side, run);
        found[at]!.get(side.name)!.push(megabytes);
      }
    }
  }
  return steps.map((step, at) => ({
    name: name(step.name),
    megabytes: Object.fromEntries([...found[at]!].map(([side, values]) => [side, median(values)])),
  }));
}

/** One run in `side`'s host that must succeed: preparation, not measurement. */
export function once(side: Side, command: Command): Run {
  side.enter();
  const done = run(command);
  settle();
  if (done.status !== 0) throw new Error(`${side.name} ${command.env.CNI_COMMAND} failed: ${oneLine(done.output)}`);
  return done;
}

function empty(): Samples {
  return { ms: [], cpu: [], failures: [] };
}

function rotate<T>(list: T[], by: number): T[] {
  const first = by % list.length;
  return [...list.slice(first), ...list.slice(0, first)];
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim().slice(0, 300);
}
