// The CNI calls that are measured: one network of one bridge with a /16, as a runtime would make them.
// https://github.com/containernetworking/cni/blob/main/SPEC.md
import type { Command, Run } from "./driver.ts";
import type { Batch, Step } from "./measure.ts";
import type { Side } from "./node.ts";

export const BRIDGE = "bench0";
export const SUBNET = "10.71.0.0/16";
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

export type Attachment = { id: string; netns: string; ifname?: string };
export type Verb = "ADD" | "DEL" | "VERSION";

/** One call of `plugin` with `conf` on standard input. */
export function call(
  side: Side,
  plugin: string,
  verb: Verb,
  { id, netns, ifname = "eth0" }: Attachment,
  conf: object,
): Command {
  const env = {
    PATH,
    CNI_COMMAND: verb,
    CNI_CONTAINERID: id,
    CNI_NETNS: netns,
    CNI_IFNAME: ifname,
    CNI_PATH: side.bin,
  };
  return { path: `${side.bin}/${plugin}`, env, input: JSON.stringify({ cniVersion: "1.0.0", name: "bench", ...conf }) };
}

/** The bridge plugin's configuration; its state is the side's own. */
export function bridgeConf(side: Side, ipMasq: boolean): object {
  const ipam = {
    type: "host-local",
    subnet: SUBNET,
    dataDir: `${side.state}/networks`,
    routes: [{ dst: "0.0.0.0/0" }],
  };
  return { type: "bridge", bridge: BRIDGE, isGateway: true, ipMasq, ipam };
}

/** ADD and DEL of one pod by bridge and host-local; DEL gets ADD's result, as runtimes do. */
export function podSteps(ipMasq = false): Step[] {
  const results = new Map<Side, string>();
  const attachment = (side: Side, round: number): Attachment => ({
    id: `${side.name}-${ipMasq ? "masq" : "pod"}-${round + 10}`,
    netns: side.pods[(round + 10) % side.pods.length]!,
  });
  const add = (side: Side, round: number): Command =>
    side.name === "floor"
      ? floorCall(side, "add", attachment(side, round), round)
      : call(side, "bridge", "ADD", attachment(side, round), bridgeConf(side, ipMasq));
  const del = (side: Side, round: number): Command =>
    side.name === "floor"
      ? floorCall(side, "del", attachment(side, round), round)
      : call(side, "bridge", "DEL", attachment(side, round), withResult(bridgeConf(side, ipMasq), results.get(side)));
  return [
    { name: "ADD", command: add, done: (side, run) => results.set(side, outcome(run)) },
    { name: "DEL", pause: 20, command: del },
  ];
}

/** ADD and DEL of every pod of a side at the same time. */
export function batchSteps(ipMasq = false): Batch[] {
  const results = new Map<Side, string[]>();
  const attachments = (side: Side, round: number): Attachment[] =>
    side.pods.map((netns, at) => ({ id: `${side.name}-${ipMasq ? "masq" : "batch"}${round + 10}-${at}`, netns }));
  const add = (side: Side, round: number): Command[] =>
    attachments(side, round).map((each) => call(side, "bridge", "ADD", each, bridgeConf(side, ipMasq)));
  const del = (side: Side, round: number): Command[] =>
    attachments(side, round).map((each, at) =>
      call(side, "bridge", "DEL", each, withResult(bridgeConf(side, ipMasq), results.get(side)?.[at])),
    );
  const keep = (side: Side, runs: Run[]) => results.set(side, runs.map(outcome));
  return [
    { name: "ADD", commands: add, done: keep },
    { name: "DEL", pause: 20, commands: del },
  ];
}

/** A stand-alone host-local call; the state is `folder`. */
export function hostLocal(side: Side, verb: Verb, id: string, folder: string): Command {
  const conf = { type: "bridge", ipam: { type: "host-local", subnet: SUBNET, dataDir: folder } };
  return call(side, "host-local", verb, { id, netns: "/run/netns/absent" }, conf);
}

export function outcome({ status, output }: Run): string {
  return status === 0 ? output : "";
}

export function withResult(conf: object, result: string | undefined): object {
  return result ? { ...conf, prevResult: JSON.parse(result) } : conf;
}

/** The same system calls without a plugin around them (floor.c). */
function floorCall(side: Side, verb: "add" | "del", { id, netns }: Attachment, round: number): Command {
  const at = round + 10;
  const args = [verb, netns, BRIDGE, `fl${at}`, `10.71.${at >> 8}.${(at & 255) + 2}`, `${side.state}/${id}`];
  return { path: side.bin, args, env: {}, input: "{}" };
}
