// tenon peers: the other nodes of this node's networks, and what the kernel has of each.
import { ago, command, json, printJson, table } from "../command.ts";
import { isWell, type PeerNetwork, peerNetworks } from "../status/peers.ts";

const headings = ["node", "subnets", "addresses", "route", "neighbour", "forwarding", ""];

/** One network's head and table. */
function print({ network, self, device, since, peers, differences, problem }: PeerNetwork): void {
  const by = device ? `, over ${device}` : "";
  const when = since === undefined ? "" : `, since ${ago(Date.now() - since)}`;
  process.stdout.write(`${network}: this is node ${self ?? "?"}; ${peers.length} others${by}${when}\n`);
  if (problem) process.stdout.write(`  ${problem}\n`);
  const rows = peers.map(({ name, subnets, addresses, route, neighbour, forwarding, problems }) => [
    name,
    subnets.join(" "),
    addresses.join(" "),
    route,
    neighbour,
    forwarding,
    problems.join("; "),
  ]);
  if (rows.length > 0) process.stdout.write(table(headings, rows));
  for (const { state, what } of differences) process.stdout.write(`  ${state}: ${what}\n`);
}

export const peers = command({
  name: "peers",
  summary: "the other nodes of this node's networks, and what the kernel has of each",
  takes: "[NETWORK...]",
  operands: "network",
  options: { ...json },
  more: "Exit status 1 if anything is not as the snapshot of a network says.",
  run({ json }, names) {
    const networks = peerNetworks(names);
    const missing = names.filter((name) => !networks.some(({ network }) => network === name));
    if (json) printJson(networks);
    else {
      for (const [at, network] of networks.entries()) {
        if (at > 0) process.stdout.write("\n");
        print(network);
      }
      if (networks.length === 0 && names.length === 0) process.stdout.write("No network leads to other nodes.\n");
      for (const name of missing) process.stderr.write(`Cannot find network "${name}": it has no snapshot\n`);
    }
    return networks.every(isWell) && missing.length === 0 ? 0 : 1;
  },
});
