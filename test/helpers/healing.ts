// A healer at work in a node: test/helpers/heal-process.ts, heard line by line.
import { createInterface } from "node:readline";
import { execa } from "execa";
import type { Counters, Options } from "../../cli/heal/heal.ts";
import type { Repair } from "../../cli/heal/repair.ts";
import type { Node } from "./node.ts";
import { ours } from "./plugin.ts";

const script = new URL("heal-process.ts", import.meta.url).pathname;

export interface Healer extends AsyncDisposable {
  pid: number;
  /** Lines of its log, and what it brought back, so far. */
  log: string[];
  repaired: Repair[];
  forsaken: string[];
  counters(): Promise<Counters>;
  stop(): Promise<void>;
}

/**
 * Starts a healer in the node; ready when it has looked at everything once. Without an anchor unless told: nft 1.0.6 prints
 * broken JSON of a table that has an owner.
 */
export async function startHealer(node: Node, options: Partial<Options> = {}): Promise<Healer> {
  const [program, ...into] = node.enter();
  const argument = JSON.stringify({ caches: ["/var/lib/cni/results"], anchor: false, ...options });
  const running = execa(program!, [...into, process.execPath, "run", script, argument, ours], {
    reject: false,
    stdin: "pipe",
    buffer: false,
    stderr: "inherit",
  });
  const healer = { log: [] as string[], repaired: [] as Repair[], forsaken: [] as string[] };
  const waiting: ((counters: Counters) => void)[] = [];
  await new Promise<void>((resolve, reject) => {
    createInterface(running.stdout).on("line", (line) => {
      const said = JSON.parse(line);
      if (said.ready) resolve();
      if (said.log) healer.log.push(said.log);
      if (said.repaired) healer.repaired.push(said.repaired);
      if (said.forsaken) healer.forsaken.push(said.forsaken);
      if (said.counters) waiting.shift()?.(said.counters);
    });
    running.then((ended) => reject(new Error(`Cannot start a healer: ${ended.message}`)));
  });
  const stop = async () => {
    running.stdin.end();
    await running;
  };
  return {
    ...healer,
    pid: running.pid!,
    counters: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        running.stdin.write("\n");
      }),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Asks until `isSo`, for 10 s; throws what is asked for last. */
export async function until<T>(ask: () => Promise<T> | T, isSo: (answer: T) => boolean): Promise<T> {
  const end = performance.now() + 10_000;
  for (;;) {
    const answer = await ask();
    if (isSo(answer)) return answer;
    if (performance.now() > end) throw new Error(`Cannot wait any longer: ${JSON.stringify(answer)}`);
    await Bun.sleep(20);
  }
}
