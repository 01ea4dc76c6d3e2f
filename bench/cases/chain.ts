// What stands in nearly every list after the main plugin: alone, and the usual list whole, as plugins and in one process.
import { type Findings, interleave, interleaveSeries, once, type Row, row, type Series } from "../measure.ts";
import { makeSide, type Node, type Side } from "../node.ts";
import { type Attachment, bridgeConf, call, outcome, type Verb, withResult } from "../pod.ts";

const portMappings = [8080, 8081, 8082].map((hostPort) => ({
  hostPort,
  containerPort: hostPort - 8000,
  protocol: "tcp",
}));
const rate = { ingressRate: 100e6, ingressBurst: 4294967295, egressRate: 100e6, egressBurst: 4294967295 };
const runtimeConfig = { portMappings, bandwidth: rate };

/** The plugins after the bridge, as a runtime hands them what the kubelet asks for. */
const chained: object[] = [
  { type: "portmap", capabilities: { portMappings: true } },
  { type: "bandwidth", capabilities: { bandwidth: true } },
  { type: "firewall" },
  { type: "tuning", sysctl: { "net.core.somaxconn": "1024" } },
];
export function measureChain(node: Node): Findings {
  const sides = node.sides.filter(({ name }) => name !== "floor");
  const { pairs, ours, scratch } = node.options;
  const alone = measureAlone(sides, pairs);
  const fused = makeSide("fused", ours, scratch, sides[0]!.pods.length);
  const found = interleaveSeries([...sides, fused], pairs, series);
  const whole = ["ADD", "DEL"].flatMap((verb) => {
    const samples = found.get(verb)!;
    // In the column of ours, beside the same reference.
    const inOne = new Map([...samples].filter(([side]) => side !== "ours").map(([side, own]) => [inColumn(side), own]));
    samples.delete(fused.name);
    return [
      row(`usual chain ${verb}`, samples, verb === "ADD" ? 0.5 : 0.25),
      row(`usual chain in one process ${verb}`, inOne, verb === "ADD" ? 0.2 : 0.1),
    ];
  });
  return { rows: [...alone, ...whole] };
}

const inColumn = (side: string) => (side === "fused" ? "ours" : side);

/**
 * ADD and DEL of each chained plugin alone, each time in a new pod of the bridge: the reference's bandwidth leaves on the link
 * what its next ADD stumbles over.
 */
function measureAlone(sides: readonly Side[], pairs: number): Row[] {
  const attach = (side: Side, verb: Verb, round: number, result?: string) =>
    outcome(once(side, call(side, "bridge", verb, podOf(side, round), withResult(bridgeConf(side, false), result))));
  return chained.flatMap((conf) => {
    const command = (side: Side, verb: Verb, round: number) =>
      call(side, typeOf(conf), verb, podOf(side, round), withResult(passed(conf), results.get(side)));
    let last = 0;
    const found = interleave([...sides], pairs, [
      {
        name: "ADD",
        command(side, round) {
          last = round;
          results.set(side, attach(side, "ADD", round));
          return command(side, "ADD", round);
        },
      },
      {
        name: "DEL",
        pause: 20,
        command: (side, round) => command(side, "DEL", round),
        done: (side) => attach(side, "DEL", last, results.get(side)),
      },
    ]);
    const name = typeOf(conf) === "portmap" ? "portmap with 3 ports" : typeOf(conf);
    const target = { portmap: 0.3, firewall: 0.4 }[typeOf(conf)];
    return ["ADD", "DEL"].map((verb) => row(`${name} ${verb}`, found.get(verb)!, target));
  });
}

const typeOf = (conf: object) => (conf as { type: string }).type;

/** A configuration with as much of what the runtime passes as it declares. */
function passed(conf: { capabilities?: Record<string, boolean> }): object {
  const taken = Object.entries(runtimeConfig).filter(([name]) => conf.capabilities?.[name]);
  return taken.length > 0 ? { ...conf, runtimeConfig: Object.fromEntries(taken) } : conf;
}

const results = new Map<Side, string>();

const podOf = (side: Side, round: number): Attachment => ({
  id: `${side.name}-chain-${round + 10}`,
  netns: side.pods[(round + 10) % side.pods.length]!,
});

const listOf = (side: Side) => [bridgeConf(side, true), ...chained];

const series: Series[] = [
  {
    name: "ADD",
    *commands(side, round) {
      const pod = podOf(side, round);
      if (side.name === "fused") {
        results.set(side, outcome(yield call(side, "chain", "ADD", pod, chainConf(side))));
        return;
      }
      let result: string | undefined;
      for (const conf of listOf(side)) {
        result = outcome(yield call(side, typeOf(conf), "ADD", pod, withResult(passed(conf), result)));
      }
      results.set(side, result ?? "");
    },
  },
  {
    name: "DEL",
    pause: 20,
    *commands(side, round) {
      const [pod, result] = [podOf(side, round), results.get(side)];
      if (side.name === "fused") {
        yield call(side, "chain", "DEL", pod, withResult(chainConf(side), result));
        return;
      }
      for (const conf of listOf(side).reverse()) {
        yield call(side, typeOf(conf), "DEL", pod, withResult(passed(conf), result));
      }
    },
  },
];

const chainConf = (side: Side): object =>
  passed({ type: "chain", capabilities: { portMappings: true, bandwidth: true }, plugins: listOf(side) } as object);
