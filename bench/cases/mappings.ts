// portmap on a host that publishes 5,000 ports already, beside one that publishes 5: what ADD and DEL cost, and what the
// first packet of a connection does. The connections go from the host to a pod where nobody listens: one packet, one answer.
import { readFileSync } from "node:fs";
import { link } from "#ffi";
import { type Findings, interleave, once, row, type Samples } from "../measure.ts";
import { makeSide, type Node, type Side } from "../node.ts";
import { type Attachment, BRIDGE, bridgeConf, call, outcome, type Verb, withResult } from "../pod.ts";

const libc = link(["libc.so.6", "libc.so"], {
  socket: [["i32", "i32", "i32"], "i32"],
  connect: [["i32", "buffer", "u32"], "i32"],
  close: [["i32"], "i32"],
});
const [AF_INET, SOCK_STREAM] = [2, 1];

const counts = { few: 5, many: 5000 };
/** Ports that one pod publishes: so many pods are not worth making, elements are all that counts. */
const perPod = 50;
const firstPort = 20_000;

export function measureMappings({ options }: Node): Findings {
  const sides = Object.entries(counts).map(([name, count]) => {
    const side = makeSide(name, options.ours, options.scratch, 2);
    publish(side, count);
    return side;
  });
  const found = interleave(sides, options.pairs, [
    { name: "ADD", command: (side, round) => portmap(side, "ADD", podOf(side, `one-${round + 10}`), 30_000, 3) },
    {
      name: "DEL",
      pause: 20,
      command: (side, round) => portmap(side, "DEL", podOf(side, `one-${round + 10}`), 30_000, 3),
    },
  ]);
  const pair = ["few", "many"];
  return {
    rows: [],
    ports: [
      row("portmap with 3 ports ADD", found.get("ADD")!, 1.2, pair),
      row("portmap with 3 ports DEL", found.get("DEL")!, 1.2, pair),
      row("a connection to a published port", connections(sides, options.quick ? 20 : 100), 1.2, pair),
    ],
  };
}

const results = new Map<Side, string>();
const podOf = (side: Side, id: string): Attachment => ({ id, netns: side.pods[0]! });

/** A pod of the bridge, and as many published ports that lead to it. */
function publish(side: Side, count: number): void {
  const pod = podOf(side, "first");
  results.set(side, outcome(once(side, call(side, "bridge", "ADD", pod, bridgeConf(side, false)))));
  for (let port = 0; port < count; port += perPod) {
    once(side, portmap(side, "ADD", podOf(side, `pod-${port}`), firstPort + port, Math.min(perPod, count - port)));
  }
}

function portmap(side: Side, verb: Verb, pod: Attachment, first: number, count: number) {
  const portMappings = Array.from({ length: count }, (_, at) => ({
    ...{ hostPort: first + at, containerPort: 80 + at, protocol: "tcp" },
  }));
  const conf = { type: "portmap", capabilities: { portMappings: true }, runtimeConfig: { portMappings } };
  return call(side, "portmap", verb, pod, withResult(conf, results.get(side)));
}

/** Packets that the bridge has sent. */
function sentToPods(): number {
  const line = readFileSync("/proc/net/dev", "utf8").match(new RegExp(`^ *${BRIDGE}:(.*)$`, "m"))![1]!;
  return Number(line.trim().split(/\s+/)[9]);
}

/** A hundred connections in each sample, in ms for each of them. */
function connections(sides: readonly Side[], rounds: number): Map<string, Samples> {
  const found = new Map(sides.map(({ name }) => [name, { ms: [], cpu: [], failures: [] } as Samples]));
  const address = new Uint8Array([AF_INET, 0, firstPort >> 8, firstPort & 255, 10, 71, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  for (let round = -2; round < rounds; round++) {
    for (const side of round % 2 ? sides : [...sides].reverse()) {
      side.enter();
      const before = sentToPods();
      const begin = Bun.nanoseconds();
      for (let at = 0; at < 100; at++) {
        const socket = libc.socket!(AF_INET, SOCK_STREAM, 0);
        const status = libc.connect!(socket, address, address.length);
        libc.close!(socket);
        if (status === 0) throw new Error("Cannot measure connections: somebody listens in the pod");
      }
      const ms = (Bun.nanoseconds() - begin) / 1e8;
      if (sentToPods() - before < 100) throw new Error("Cannot measure connections: they did not reach the pod");
      if (round >= 0) found.get(side.name)!.ms.push(ms);
    }
  }
  for (const samples of found.values()) samples.cpu = samples.ms;
  return found;
}
