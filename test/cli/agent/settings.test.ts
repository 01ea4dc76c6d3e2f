import { expect, test } from "bun:test";
import { hostname } from "node:os";
import { loadSettings, readSettings } from "../../../cli/agent/settings.ts";

const file = "{ type: file, path: /etc/tenon/peers.yaml }";
const conflist = "{ template: /etc/tenon/pods.conflist, to: /etc/cni/net.d/10-pods.conflist }";
const network = (source = file, more = "", to = conflist) =>
  `networks: [{ name: pods, source: ${source}, conflist: ${to}${more} }]`;

test("what is not given has its default", () => {
  const { networks, ...rest } = readSettings(network(), "agent.yaml");
  expect(rest).toEqual({
    node: hostname(),
    state: "/var/lib/tenon/agent",
    metrics: "127.0.0.1:9811",
    results: ["/var/lib/cni/results"],
    plugins: ["/opt/cni/bin"],
    anchor: true,
    intervals: { compare: 300, sweep: 900, settle: 0.05 },
  });
  expect(networks).toEqual([
    {
      name: "pods",
      source: { type: "file", path: "/etc/tenon/peers.yaml" },
      cluster: [],
      addresses: [],
      conflist: { template: "/etc/tenon/pods.conflist", to: "/etc/cni/net.d/10-pods.conflist" },
    },
  ]);
});

test("etcd and Flannel's etcd have theirs", () => {
  const cluster = ", cluster: [{ cidr: 10.244.0.0/16, size: 24 }, { cidr: fd00::/48, size: 64 }]";
  const [one] = readSettings(network("{ type: etcd, hosts: [a:2379] }", cluster), "f").networks;
  expect(one!.source).toEqual({ type: "etcd", hosts: ["a:2379"], lease: 86400, heartbeat: 30, prefix: "/tenon" });
  const [two] = readSettings(network("{ type: flannel, hosts: [a:2379] }"), "f").networks;
  expect(two!.source).toMatchObject({ prefix: "/coreos.com/network", subnetFile: "/run/flannel/subnet.env" });
  const [three] = readSettings(network("{ type: etcd, hosts: [a], lease: 31536000 }", cluster), "f").networks;
  expect(three!.source).toMatchObject({ lease: 31536000 });
});

test("runtimes are asked by a socket or by their storage", () => {
  const runtimes =
    "runtimes: [{ name: k3s, socket: /run/k3s/containerd/containerd.sock, cache: /c }, { name: p, storage: /s }]";
  const given = readSettings(`${network()}\n${runtimes}\nanchor: false\nplugins: [/var/lib/rancher/k3s/data/cni]`, "f");
  expect(given.runtimes).toEqual([
    { name: "k3s", socket: "/run/k3s/containerd/containerd.sock", cache: "/c" },
    { name: "p", storage: "/s", cache: "/var/lib/cni/results" },
  ]);
  expect(given).toMatchObject({ anchor: false, plugins: ["/var/lib/rancher/k3s/data/cni"] });
});

test("a mistake is told of by its key and value", () => {
  const wrong: [string, string][] = [
    [`${network()}\nruntimes: []`, "Cannot use runtimes []: must not be empty"],
    [`${network()}\nruntimes: [{ name: a }]`, 'Cannot use runtimes[0] {"name":"a"}: must have a socket or a storage'],
    [`${network()}\nruntimes: [{ socket: /s }]`, "Cannot go without runtimes[0].name: must be a string"],
    [`${network()}\nplugins: [bin]`, 'Cannot use plugins[0] "bin": must be an absolute path'],
    [`${network()}\nanchor: 1`, "Cannot use anchor 1: must be a boolean"],
    ["", "Cannot go without networks: must be an array"],
    ["networks: []", "Cannot use networks []: must not be empty"],
    [`node: a b\n${network()}`, 'Cannot use node "a b": must begin with a letter or digit and go on with those, _ . -'],
    [`metric: x\n${network()}`, 'Cannot use key "metric": there is no such key'],
    [`metrics: "9811"\n${network()}`, 'Cannot use metrics "9811": must be ADDRESS:PORT, or empty for none'],
    [`intervals: { compare: 0 }\n${network()}`, "Cannot use intervals.compare 0: must be 1 or more"],
    [
      `intervals: { compare: 31536000 }\n${network()}`,
      "Cannot use intervals.compare 31536000: must be 2147483 or less",
    ],
    [
      network("{ type: flannel, hosts: [a], lease: 60 }"),
      "Cannot use networks[0].source.lease 60: must be three times the heartbeat of 30 seconds, or more",
    ],
    [network("{ type: flannel, hosts: [a], heartbeat: 30000 }"), "source.lease: must be three times the heartbeat"],
    [network("{ type: consul }"), 'Cannot use networks[0].source.type "consul": must be file, etcd or flannel'],
    [network("{ type: file }"), "Cannot go without networks[0].source.path: must be a string"],
    [network("{ type: file, path: peers }"), 'Cannot use networks[0].source.path "peers": must be an absolute path'],
    [
      network("{ type: etcd, hosts: [a] }"),
      "Cannot go without networks[0].cluster: must hold the ranges that nodes claim",
    ],
    [
      network("{ type: flannel, hosts: [https://10.0.0.1:2379], tls: { ca: /ca } }"),
      "Cannot go without networks[0].source.tls.serverName: must be a name in the servers' certificates",
    ],
    [
      network("{ type: flannel, hosts: [etcd:2379], tls: { ca: /ca, key: /key } }"),
      "must have both cert and key, or neither",
    ],
    [
      network(file, ", cluster: [{ cidr: 10.244.0.1/16, size: 24 }]"),
      'Cannot use networks[0].cluster[0].cidr "10.244.0.1/16": must be a network, as 10.244.0.0/16',
    ],
    [network(file, ", cluster: [{ cidr: 10.244.0.0/16, size: 8 }]"), "size must be longer than the network's prefix"],
    [network(file, ", addresses: [x]"), 'Cannot use networks[0].addresses[0] "x": must be an IP address'],
    [network(file, "", "{ template: /a, to: /b.conf }"), 'Cannot use networks[0].conflist.to "/b.conf": must end in'],
    [
      `networks:\n  - { name: a, source: ${file}, conflist: ${conflist} }\n  - { name: a, source: ${file}, conflist: ${conflist} }`,
      "must have names unlike each other",
    ],
    ["networks: [", 'Cannot read "agent.yaml": '],
  ];
  for (const [text, message] of wrong) expect(() => readSettings(text, "agent.yaml")).toThrow(message);
});

test("a file that is not there is named", async () => {
  await expect(loadSettings("/no/agent.yaml")).rejects.toThrow('Cannot read "/no/agent.yaml": ENOENT');
});
