// tenon explain: the way of a packet from a pod to somebody, as the kernel would lead it, and where it would stop.
import { caches, command, json, printJson, table, UsageError } from "../command.ts";
import { type Endpoint, findEndpoint, splitPort, UnknownEndpoint } from "../explain/endpoint.ts";
import { explain as wayOf } from "../explain/walk.ts";
import { Caches } from "../heal/attachments.ts";

const signs = { ok: "", note: "look:", stops: "STOPS:" } as const;

export const explain = command({
  name: "explain",
  summary: "a packet's way from a pod to somebody, step by step, and where it would stop",
  takes: "POD WHOM[:PORT]",
  operands: "pod",
  options: {
    udp: { about: "ask for a UDP port; default: TCP" },
    ...caches,
    ...json,
  },
  more: `POD and WHOM: a container's id or the beginning of it, a pod's NAME or NAMESPACE/NAME, an address, the path of a
network namespace, or "node" for this node. WHOM may be anywhere. Nothing is sent: the kernel is asked.

Exit status: 0, nothing stops it; 1, something does; 2, a wrong call.`,
  async run({ udp = false, cache = ["/var/lib/cni/results"], json }, operands) {
    const [pod, whom, ...more] = operands;
    if (pod === undefined || whom === undefined || more.length > 0)
      throw new UsageError("Cannot explain: name two ends");
    const { attachments } = await new Caches(cache).read();
    const find = (text: string): Endpoint => {
      try {
        return findEndpoint(text, attachments);
      } catch (error) {
        if (error instanceof UnknownEndpoint) throw new UsageError(error.message);
        throw error;
      }
    };
    const target = splitPort(whom);
    const from = find(pod);
    if (from.kind === "elsewhere")
      throw new UsageError(`Cannot explain the way from ${pod}: nobody on this node has it`);
    const to = find(target.whom);
    const trail = wayOf({ from, to, protocol: udp ? "udp" : "tcp", port: target.port, find });
    const { steps, stopped } = trail;
    if (json) printJson({ from: from.name, to: to.name, reaches: stopped === undefined, steps });
    else {
      process.stdout.write(
        table(
          ["at", "what", ""],
          steps.map(({ at, what, detail, state }) => [at, what, `${signs[state]} ${detail}`.trim()]),
        ),
      );
      process.stdout.write(stopped ? `\nIt stops at ${stopped.at}: ${stopped.detail}\n` : "\nNothing stops it.\n");
    }
    return stopped ? 1 : 0;
  },
});
