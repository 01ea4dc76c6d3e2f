// One more pod on a bridge that already has 1,000 ports, after their neighbour discovery has fallen silent.
// What grows is the flood: every broadcast or multicast of the new pod is copied to each port.
import { readFileSync, writeFileSync } from "node:fs";
import { type Findings, interleave, once, row } from "../measure.ts";
import { feed, host, type Node, type Side } from "../node.ts";
import { BRIDGE, bridgeConf, call, podSteps } from "../pod.ts";
import { bridgeForFloor } from "./bridge.ts";

const PORTS = 1000;

export function measurePorts(node: Node): Findings {
  const { sides, options } = node;
  bridgeForFloor(node);
  const crowds = sides.map((side) => addCrowd(side));
  for (const enterCrowd of crowds) awaitSilence(enterCrowd);
  for (const side of sides) {
    side.enter();
    batch((at) => `link set c${at} master ${BRIDGE}`);
  }
  for (const side of sides) awaitSilence(side.enter);
  const found = interleave(sides, options.pairs, podSteps());
  return {
    rows: [
      row("ADD among 1,000 ports", found.get("ADD")!, 0.25), //
      row("DEL among 1,000 ports", found.get("DEL")!),
    ],
  };
}

/**
 * A thousand links whose far ends live together in one namespace; the answer enters it. They finish their discovery before
 * they join the bridge: joined first, they flood five million packets at each other for a minute.
 */
function addCrowd(side: Side): () => void {
  if (side.name !== "floor") {
    const pod = { id: "first", netns: side.pods[0]! };
    const { output } = once(side, call(side, "bridge", "ADD", pod, bridgeConf(side, false)));
    const conf = { ...bridgeConf(side, false), prevResult: JSON.parse(output) };
    once(side, call(side, "bridge", "DEL", pod, conf));
  }
  const crowd = `crowd-${side.name}`;
  const enterCrowd = host(crowd);
  for (const enter of [side.enter, enterCrowd]) {
    enter();
    const ipv6 = "/proc/sys/net/ipv6/conf/default";
    writeFileSync(`${ipv6}/router_solicitations`, "0"); // settled hosts have stopped asking
    writeFileSync(`${ipv6}/mldv2_unsolicited_report_interval`, "10"); // and reporting: at once here, not within seconds
  }
  side.enter();
  batch((at) => `link add c${at} up type veth peer name p${at} netns ${crowd}`);
  enterCrowd();
  batch((at) => `link set p${at} up`);
  return enterCrowd;
}

function batch(line: (at: number) => string): void {
  feed(Array.from({ length: PORTS }, (_, at) => line(at)).join("\n"), "ip", "-batch", "-");
}

/** Until fewer than 20 packets a second leave through all links of a namespace together, 90 s at most. */
function awaitSilence(enter: () => void): void {
  enter();
  const packets = () => {
    const lines = readFileSync("/proc/net/dev", "utf8").split("\n").slice(2, -1);
    return lines.reduce((sum, line) => sum + Number(line.split(":")[1]!.trim().split(/\s+/)[9]), 0); // transmitted
  };
  let before = packets();
  for (let second = 0; second < 90; second++) {
    Bun.sleepSync(1000);
    const now = packets();
    if (now - before < 20) return;
    before = now;
  }
  throw new Error("Cannot measure among 1,000 ports: neighbour discovery did not fall silent within 90 s");
}
