// Published ports on the oldest kernel that is supported, and on one between it and today's, SCTP among them, which the
// machine's own kernel may not have: which clients the pod hears, and by which address.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { ours } from "../helpers/plugin.ts";
import { joinOutside, runStepsInVm, type VmResult } from "../helpers/vm.ts";

const protocols = ["tcp", "udp", "sctp"];
const ipam = { type: "host-local", ranges: [[{ subnet: "10.1.0.0/24" }], [{ subnet: "fd00:1::/64" }]] };
const bridge = { cniVersion: "1.0.0", name: "net", type: "bridge", isDefaultGateway: true, hairpinMode: true, ipam };
const portMappings = protocols.map((protocol) => ({ hostPort: 8080, containerPort: 80, protocol }));
const portmap = { cniVersion: "1.0.0", name: "net", type: "portmap", runtimeConfig: { portMappings } };

const start = `
  mount -t tmpfs state /var/lib
  sysctl -qw net.ipv6.conf.default.accept_dad=0
  cni() { printf %s "$4" | CNI_COMMAND=$2 CNI_CONTAINERID=$3 CNI_NETNS=/run/netns/$3 CNI_IFNAME=eth0 CNI_PATH=/cni /cni/$1; }
  with() { printf '{"prevResult":%s,%s' "$1" "\${2#?}"; }
  for pod in one other; do
    ip netns add $pod
    ip -n $pod link set lo up
    cni bridge ADD $pod '${JSON.stringify(bridge)}' > /run/$pod
  done
  ${joinOutside}
  sleep 2
  ip netns exec one /peer serve 80 > /dev/null 2>&1
  ask() { for protocol in ${protocols.join(" ")}; do echo "$1 $2 $protocol $($3 /peer ask $protocol $2 8080)"; done; }
  conf=$(with "$(cat /run/one)" '${JSON.stringify(portmap)}')
  cni portmap ADD one "$conf" > /run/result
`;

const steps = {
  added: `${start}
    cni portmap CHECK one "$(with "$(cat /run/result)" '${JSON.stringify(portmap)}')"
    nft list table inet tenon
    ask host 127.0.0.1 ""
    for address in 192.0.2.1 2001:db8:2::1; do
      ask outside $address "ip netns exec outside"
      ask neighbour $address "ip netns exec other"
      ask itself $address "ip netns exec one"
    done
    nft list map inet tenon ports/ip
    cni portmap DEL one "$conf"
    ask outside 192.0.2.1 "ip netns exec outside"
    printf %s '{"cni.dev/valid-attachments":[],"cniVersion":"1.1.0","name":"net","type":"portmap"}' |
      CNI_COMMAND=GC CNI_PATH=/cni /cni/portmap
    nft list ruleset
    echo end`,
};

describe.each(["5.10", "6.1"] as const)("kernel %s", (kernel) => {
  let dir: string;
  let results: Record<keyof typeof steps, VmResult>;
  beforeAll(async () => {
    if (!existsSync(join(ours, "portmap"))) throw new Error(`Cannot find ${ours}/portmap: run \`make build\``);
    dir = await mkdtemp(join(tmpdir(), "tenon-peer-"));
    const source = join(import.meta.dir, "../helpers/peer.c");
    await execa("gcc", ["-O1", "-static", "-o", join(dir, "peer"), source]);
    results = await runStepsInVm({
      kernel,
      steps,
      files: { "/cni": ours, "/peer": join(dir, "peer") },
      timeoutSeconds: 300,
    });
  }, 400_000);
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test("TCP, UDP and SCTP reach the pod from everywhere, and nowhere after DEL; GC leaves nothing", () => {
    const { exitCode, output } = results.added;
    expect(`${exitCode} ${exitCode === 0 ? "" : output}`).toBe("0 ");
    const heard = output.match(/^(host|outside|neighbour|itself) .*$/gm);
    const each = (who: string, address: string, client: string) =>
      protocols.map((protocol) => `${who} ${address} ${protocol} ${client}`);
    expect([...(heard ?? [])]).toEqual([
      ...each("host", "127.0.0.1", "10.1.0.1"),
      ...each("outside", "192.0.2.1", "192.0.2.254"),
      ...each("neighbour", "192.0.2.1", "10.1.0.1"),
      ...each("itself", "192.0.2.1", "10.1.0.1"),
      ...each("outside", "2001:db8:2::1", "2001:db8:2::fe"),
      ...each("neighbour", "2001:db8:2::1", "fd00:1::1"),
      ...each("itself", "2001:db8:2::1", "fd00:1::1"),
      ...each("outside", "192.0.2.1", "none"),
    ]);
    const line = /(\d+) \. 8080 counter packets (\d+) .*comment "net\/one\/eth0" : 10\.1\.0\.2 \. 80/g;
    const counted = Array.from(output.matchAll(line), (found) => `${found[1]} ${found[2]}`);
    // Numbers, as the machine has no /etc/protocols: before the questions, and after those of four places.
    expect(counted).toEqual([...["6 0", "17 0", "132 0"], ...["6 4", "17 4", "132 4"]]);
    expect(output).toEndWith("none\nend\n");
  });
});
