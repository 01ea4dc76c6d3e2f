// tenon status: what is programmed on this node, what differs from the kernel, and since when.
import { ago, caches, command, dataDirs, json, printJson, table } from "../command.ts";
import { askAgent } from "../status/agent.ts";
import { type AttachmentState, listAttachments } from "../status/attachments.ts";
import { isWell, type PeerNetwork, peerNetworks } from "../status/peers.ts";

const headings = ["network", "container", "interface", "addresses", "link", "bridge", "since", ""];

function rowOf(one: AttachmentState): string[] {
  const { network, container, ifname, addresses, link = "-", bridge = "-", since, problems } = one;
  const when = since === undefined ? "-" : ago(Date.now() - since);
  return [network, container.slice(0, 12), ifname, addresses.join(" "), link, bridge, when, problems[0] ?? "ok"];
}

function lineOf(one: PeerNetwork): string {
  const { network, self, peers, device, since, differences, problem } = one;
  const when = since === undefined ? "" : `, since ${ago(Date.now() - since)}`;
  const by = device ? ` over ${device}` : "";
  const state = problem ?? (differences.length === 0 ? "as its snapshot says" : `${differences.length} differences`);
  return `${network}: node ${self ?? "?"}, ${peers.length} other nodes${by}${when}: ${state}\n`;
}

export const status = command({
  name: "status",
  summary: "what is programmed on this node, what differs from the kernel, since when",
  takes: "[NETWORK...]",
  operands: "network",
  options: {
    ...caches,
    ...dataDirs,
    agent: { value: "ADDRESS:PORT", about: "where the agent answers; default: 127.0.0.1:9811" },
    ...json,
  },
  more: "Nothing is changed. Exit status 1 if anything is not as it should be; tenon repair and tenon gc do something about it.",
  async run({ cache = ["/var/lib/cni/results"], "data-dir": folders = ["/var/lib/cni/networks"], agent, json }, only) {
    const [{ attachments, problem }, asked] = await Promise.all([
      listAttachments({ caches: cache, dataDirs: folders, only }),
      askAgent(agent ?? "127.0.0.1:9811"),
    ]);
    const networks = peerNetworks(only);
    if (json) printJson({ attachments, ...(problem ? { problem } : {}), networks, agent: asked });
    else {
      process.stdout.write(attachments.length > 0 ? table(headings, attachments.map(rowOf)) : "No pod is attached.\n");
      for (const { container, problems } of attachments)
        for (const more of problems.slice(1)) process.stdout.write(`  ${container.slice(0, 12)}: ${more}\n`);
      if (problem) process.stdout.write(`\n${problem}\n`);
      if (networks.length > 0) process.stdout.write(`\n${networks.map(lineOf).join("")}`);
      for (const { differences } of networks)
        for (const { state, what } of differences) process.stdout.write(`  ${state}: ${what}\n`);
      const waits = (asked.waits ?? []).map((text) => `  ${text}\n`).join("");
      process.stdout.write(`\nagent: ${asked.state}\n${waits}`);
    }
    const isFine = attachments.every(({ problems }) => problems.length === 0) && networks.every(isWell);
    return isFine && asked.state !== "waiting" ? 0 : 1;
  },
});
