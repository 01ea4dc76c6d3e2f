// bridge on kernels that filter VLANs, and on the oldest kernel that is supported: what `bridge vlan show` says after an
// ADD, beside the reference's, and which packets pass. https://www.cni.dev/plugins/current/main/bridge/
import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { referenceDir } from "../../scripts/reference.ts";
import { ours } from "../helpers/plugin.ts";
import { runStepsInVm, type VmResult } from "../helpers/vm.ts";

type Vlan = { vlan: number; flags?: string[] };
const native = (vlan: number): Vlan => ({ vlan, flags: ["PVID", "Egress Untagged"] });
const untagged = (vlan: number): Vlan => ({ vlan, flags: ["Egress Untagged"] });
const tagged = (...ids: number[]): Vlan[] => ids.map((vlan) => ({ vlan }));

type Row = { conf: object; filtering?: 0 | 1; port: Vlan[]; reference?: Vlan[] };

const trunk = [{ minID: 200, maxID: 202 }, { id: 101 }];
/** What the pod's port gets; `reference` where the reference errs: it makes a native VLAN tagged if the trunk names it. */
const rows: Record<string, Row> = {
  "no VLAN": { conf: {}, filtering: 0, port: [native(1)] },
  "a VLAN": { conf: { vlan: 100 }, port: [native(100)] },
  "a VLAN beside the default one": {
    conf: { vlan: 100, preserveDefaultVlan: true },
    port: [untagged(1), native(100)],
  },
  "a trunk": { conf: { vlanTrunk: trunk }, port: [native(1), ...tagged(101, 200, 201, 202)] },
  "a trunk with VLAN 1 in it": { conf: { vlanTrunk: [{ id: 1 }, { id: 5 }] }, port: [native(1), ...tagged(5)] },
  "an empty trunk": { conf: { vlanTrunk: [] }, port: [native(1)] },
  "a VLAN and a trunk": {
    conf: { vlan: 100, vlanTrunk: trunk },
    port: [native(100), ...tagged(101, 200, 201, 202)],
  },
  "a VLAN and a trunk that has it too": {
    conf: { vlan: 100, vlanTrunk: [{ minID: 99, maxID: 101 }] },
    port: [...tagged(99), native(100), ...tagged(101)],
    reference: tagged(99, 100, 101),
  },
  "the highest VLAN": { conf: { vlan: 4094, vlanTrunk: [{ id: 4093 }] }, port: [...tagged(4093), native(4094)] },
};

const ipam = { type: "host-local", subnet: "10.1.0.0/24" };
const config = (keys: object) => {
  return JSON.stringify({ cniVersion: "1.0.0", name: "net", type: "bridge", bridge: "br0", ipam, ...keys });
};

// Each step is a host of its own. `cni VERB POD CONFIG` calls the plugin, `check POD CONFIG RESULT` with the result of ADD.
const host = (suite: "ours" | "reference", script: string) => `
cat > /tmp/host << 'END'
mount -t tmpfs run /run
mount -t tmpfs state /var/lib
ip link set lo up
export CNI_PATH=/cni/${suite} CNI_IFNAME=eth0
cni() { printf %s "$3" | CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 $CNI_PATH/bridge; }
check() { cni CHECK "$1" "{\\"prevResult\\":$3,\${2#?}" > /dev/null && echo true || echo false; }
pings() { ip netns exec "$1" ping -c 1 -W 2 "$2" > /dev/null && echo true || echo false; }
${script}
END
unshare --net --mount sh -e /tmp/host`;

/** ADD, CHECK and DEL; what is there after ADD and after DEL, as one JSON document. */
const lifecycle = (keys: object, inPod = "") => `
conf='${config(keys)}'
ip netns add pod
result=$(cni ADD pod "$conf") || { printf %s "$result"; exit 1; }
echo "{ \\"result\\": $result, \\"links\\": $(ip -j -d address show), \\"vlans\\": $(bridge -j vlan show)"
echo ", \\"check\\": $(check pod "$conf" "$result") ${inPod}"
cni DEL pod "$conf"
echo ", \\"after\\": { \\"links\\": $(ip -j link show), \\"vlans\\": $(bridge -j vlan show) } }"`;

const dual = {
  ...{ isDefaultGateway: true, ipMasq: true, macspoofchk: true, portIsolation: true },
  ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0/24" }], [{ subnet: "fd00:1::/64" }]] },
};

const rowSteps = (suite: "ours" | "reference") => {
  return Object.fromEntries(Object.entries(rows).map(([title, { conf }]) => [title, host(suite, lifecycle(conf))]));
};

const steps = {
  ...rowSteps("ours"),
  gateway: host("ours", lifecycle({ vlan: 100, isGateway: true }, ', \\"pings\\": [$(pings pod 10.1.0.1)]')),
  dual: host("ours", lifecycle(dual, ', \\"pings\\": [$(pings pod 10.1.0.1), $(pings pod fd00:1::1)]')),
  packets: host(
    "ours",
    `
for pod in a b c d; do ip netns add $pod; done
cni ADD a '${config({ vlan: 100 })}' > /dev/null
cni ADD b '${config({ vlan: 100 })}' > /dev/null
cni ADD c '${config({ vlan: 200 })}' > /dev/null
cni ADD d '${config({ vlanTrunk: [{ id: 100 }], ipam: {} })}' > /dev/null
ip -n d link add link eth0 name tagged type vlan id 100
ip -n d address add 10.1.0.100/24 dev tagged
ip -n d link set eth0 up
ip -n d link set tagged up
echo "{ \\"same\\": $(pings a 10.1.0.3), \\"other\\": $(pings a 10.1.0.4), \\"trunk\\": $(pings d 10.1.0.2),"
echo "\\"otherTrunk\\": $(pings d 10.1.0.4) }"`,
  ),
};

type Link = { ifname: string; linkinfo?: { info_data?: { vlan_filtering?: number } }; addr_info: { local: string }[] };
type Seen = { links: Link[]; vlans: { ifname: string; vlans: Vlan[] }[] };
type Life = Seen & {
  result: { interfaces: { name: string; sandbox?: string }[] };
  check: boolean;
  pings?: boolean[];
  after: Seen;
};

function read({ exitCode, output }: VmResult): any {
  if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${output}`);
  return JSON.parse(output);
}

/** What there is to compare: names of veths are each suite's own. */
function seen({ result, links, vlans, check, after }: Life) {
  const hostLink = result.interfaces[1]!.name;
  return {
    filtering: links.find(({ ifname }) => ifname === "br0")!.linkinfo!.info_data!.vlan_filtering,
    bridge: vlans.find(({ ifname }) => ifname === "br0")!.vlans,
    port: vlans.find(({ ifname }) => ifname === hostLink)!.vlans,
    check,
    left: after.links.map(({ ifname }) => ifname),
  };
}

const wanted = ({ filtering = 1, port }: Row) => {
  return { filtering, bridge: [native(1)], port, check: true, left: ["lo", "br0"] };
};

describe.each(["5.10", "6.1"] as const)("bridge on kernel %s", (kernel) => {
  let ran: Record<string, VmResult>;
  beforeAll(async () => {
    if (!existsSync(join(ours, "bridge"))) throw new Error(`Cannot find ${ours}/bridge: run \`make build\``);
    ran = await runStepsInVm({ kernel, steps, files: { "/cni/ours": ours }, timeoutSeconds: 240 });
  }, 400_000);

  test.each(Object.entries(rows))("with %s sets the port as described, and leaves the bridge", (title, row) => {
    expect(seen(read(ran[title]!))).toEqual(wanted(row));
  });

  test("with a VLAN and isGateway has the gateway's address on <bridge>.<vlan>, and the pod reaches it", () => {
    const life: Life = read(ran.gateway!);
    const gateway = life.links.find(({ ifname }) => ifname === "br0.100");
    expect(gateway?.addr_info.map(({ local }) => local)).toContain("10.1.0.1");
    expect(life.result.interfaces[3]).toMatchObject({ name: "br0.100" });
    expect(seen(life).port).toEqual([native(100)]);
    expect({ check: life.check, pings: life.pings }).toEqual({ check: true, pings: [true] });
    expect(seen(life).left).not.toContain(life.result.interfaces[1]!.name);
  });

  test("with two families, masquerade, spoof check and isolation reaches both gateways, and leaves the bridge", () => {
    const life: Life = read(ran.dual!);
    expect({ check: life.check, pings: life.pings }).toEqual({ check: true, pings: [true, true] });
    expect(seen(life).left).toEqual(["lo", "br0"]);
  });

  test("lets packets pass within a VLAN and to its trunk, and to no other VLAN", () => {
    expect(read(ran.packets!)).toEqual({ same: true, other: false, trunk: true, otherTrunk: false });
  });
});

describe("the reference bridge", () => {
  let ran: Record<string, VmResult>;
  beforeAll(async () => {
    const { dir, version } = referenceDir();
    if (Bun.semver.order(version, "1.4.0") < 0) {
      throw new Error(
        `Cannot compare with reference ${version}: it has no vlanTrunk; Debian testing's was not fetched`,
      );
    }
    const files = { "/cni/reference": dir };
    ran = await runStepsInVm({ kernel: "6.1", steps: rowSteps("reference"), files, timeoutSeconds: 240 });
  }, 400_000);

  test.each(Object.entries(rows))("with %s does the same, or errs as described", (title, row) => {
    expect(seen(read(ran[title]!))).toEqual(wanted({ ...row, port: row.reference ?? row.port }));
  });
});
