// bandwidth on the oldest kernel that is supported and the next: what was made is read back by CHECK, ours and the
// reference's, and frames pass. Those kernels tell what they made, and find what is asked for, only if asked with an echo.
import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { referenceDir } from "../../scripts/reference.ts";
import { ours } from "../helpers/plugin.ts";
import { runStepsInVm, type VmResult } from "../helpers/vm.ts";

const limits = { ingressRate: 10_000_000, ingressBurst: 1_000_000, egressRate: 20_000_000, egressBurst: 2_000_000 };
const config = (keys: object) =>
  JSON.stringify({
    ...{ cniVersion: "1.1.0", name: "net", type: "bandwidth", ...limits, ...keys },
    prevResult: { interfaces: [{ name: "end" }, { name: "eth0", sandbox: "/run/netns/pod" }] },
  });

/** ADD twice, CHECK of each suite and of other limits, pings, DEL, each told by its exit code. */
const lifecycle = (keys: object) => `
cat > /tmp/host << 'END'
mount -t tmpfs run /run
ip link set lo up
ip netns add pod
ip link add end type veth peer name eth0 netns pod
ip link set end up
ip address add 10.9.0.1/24 dev end
ip -n pod link set eth0 up
ip -n pod address add 10.9.0.2/24 dev eth0
export CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0
cni() { printf %s "$3" | CNI_COMMAND=$2 CNI_PATH=/cni/$1 /cni/$1/bandwidth > /tmp/said 2>&1 && echo "$1 $2 0" || { echo "$1 $2 1"; cat /tmp/said >&2; }; }
conf='${config(keys)}'
cni ours STATUS "$conf"
cni ours ADD "$conf"
cni ours ADD "$conf"
cni ours CHECK "$conf"
cni ours CHECK '${config({ ...keys, ingressRate: 10_000_008 })}' 2> /dev/null
cni ours CHECK '${config({ ...keys, egressRate: 20_000_008 })}' 2> /dev/null
cni reference CHECK "$conf"
ip netns exec pod ping -q -c 3 -W 2 10.9.0.1 > /dev/null && echo ping 0 || echo ping 1
cni ours DEL "$conf"
ip netns exec pod ping -q -c 1 -W 2 10.9.0.1 > /dev/null && echo ping 0 || echo ping 1
ip -br link show type ifb
cni reference ADD '${config({ ...keys, egressRate: 0, egressBurst: 0 })}'
END
unshare --net --mount sh -e /tmp/host 2>&1`;

const steps = {
  everything: lifecycle({}),
  unshaped: lifecycle({ unshapedSubnets: ["10.9.9.0/24", "fd00::/48"] }),
  shaped: lifecycle({ shapedSubnets: ["10.9.0.0/24", "fd00::/48"] }),
};

const wanted = `ours STATUS 0
ours ADD 0
ours ADD 0
ours CHECK 0
ours CHECK 1
ours CHECK 1
reference CHECK 0
ping 0
ours DEL 0
ping 0
reference ADD 0
`;

describe.each(["5.10", "6.1"] as const)("bandwidth on kernel %s", (kernel) => {
  let ran: Record<keyof typeof steps, VmResult>;
  beforeAll(async () => {
    if (!existsSync(join(ours, "bandwidth"))) throw new Error(`Cannot find ${ours}/bandwidth: run \`make build\``);
    const files = { "/cni/ours": ours, "/cni/reference": referenceDir().dir };
    ran = await runStepsInVm({ kernel, steps, files, timeoutSeconds: 240 });
  }, 400_000);

  test.each(Object.keys(steps) as (keyof typeof steps)[])("shapes %s", (step) => {
    expect(ran[step].output).toBe(wanted);
    expect(ran[step].exitCode).toBe(0);
  });
});
