// Pairs are made in the process's own namespace, so what makes any runs as a process of its own in a node.
import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { labelsOf, macOf, namesOf } from "../../../lib/ip/plug.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

const source = resolve(import.meta.dir, "../../../lib");
const imports = `
import { inPod, host } from "${source}/ip/pod.ts";
import { findPair, namesOf, plugPod, sweepPods, unplugPod } from "${source}/ip/plug.ts";
const attachment = (containerId, network = "net", ifname = "eth0") => ({ network, containerId, ifname });
const plug = (attachment, path, more = {}) =>
  inPod(path, (pod) => plugPod(pod, { ...namesOf(attachment), ifname: attachment.ifname, ...more }));
`;

/** Runs a script over lib/ip/plug.ts in a node, and what it prints. */
async function run(node: Node, script: string): Promise<any> {
  const { stdout } = await node.exec(process.execPath, ["-e", imports + script]);
  return stdout === "" ? undefined : JSON.parse(stdout);
}

const links = async (exec: Node["exec"]): Promise<any[]> => {
  const { stdout } = await exec("ip", ["-j", "-d", "link", "show", "type", "veth"]);
  return JSON.parse(stdout || "[]").filter((link: any) => link.ifname);
};

test("a MAC address is the IPv4 address's, else a hash, always locally administered and nobody's group", () => {
  expect(macOf("10.1.2.255/24", "any")).toBe("0a:58:0a:01:02:ff");
  for (const mac of [macOf("fd00::1/64", "any"), macOf(undefined, "net/c1/eth0")]) {
    expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2);
  }
  expect(macOf("fd00::1/64", "one")).toBe(macOf("fd00::1/64", "other"));
  expect(macOf(undefined, "one")).not.toBe(macOf(undefined, "other"));
});

test("names are those of identity, and GC keeps by label", () => {
  const { hostName, label } = namesOf({ network: "net", containerId: "c1", ifname: "eth0" });
  expect(hostName).toMatch(/^tn[a-z2-7]{13}$/);
  expect(label).toBe("net/c1/eth0");
  expect(labelsOf("net", [{ containerId: "c1", ifname: "eth0" }])).toEqual(new Set([label]));
});

test("a pair has its names, addresses, MTU and alias; the host's end is up and takes no router's word", async () => {
  await using node = await makeNode("plug");
  const pod = await node.netns("pod");
  await run(node, `plug(attachment("c1"), "${pod.path}", { mtu: 1400, address: "10.0.0.2/24" })`);
  const [outer] = await links(node.exec);
  const [inner] = await links(pod.exec);
  expect(outer).toMatchObject({ ifname: namesOf({ network: "net", containerId: "c1", ifname: "eth0" }).hostName });
  expect(outer).toMatchObject({ mtu: 1400, ifalias: "net/c1/eth0" });
  expect(outer.flags).toContain("UP");
  expect(inner).toMatchObject({ ifname: "eth0", mtu: 1400, address: "0a:58:0a:00:00:02" });
  expect(inner.flags).not.toContain("UP");
  const { stdout } = await node.exec("sysctl", ["-n", `net.ipv6.conf.${outer.ifname}.accept_ra`]);
  expect(stdout).toBe("0");
});

test("a pair is found from the pod's end; what is missing or different is said", async () => {
  await using node = await makeNode("plug");
  const pod = await node.netns("pod");
  await run(node, `plug(attachment("c1"), "${pod.path}", { address: "10.0.0.2/24" })`);
  const find = (ifname: string, mac?: string) =>
    run(
      node,
      `try {
         const { inner, outer } = inPod("${pod.path}", (pod) => findPair(pod, "${ifname}", ${JSON.stringify(mac)}));
         console.log(JSON.stringify([inner.name, outer.name]));
       } catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`,
    );
  const { hostName } = namesOf({ network: "net", containerId: "c1", ifname: "eth0" });
  expect(await find("eth0", "0A:58:0A:00:00:02")).toEqual(["eth0", hostName]);
  expect(await find("eth0")).toEqual(["eth0", hostName]);
  const refused = (text: string) => ({ code: 101, message: expect.stringContaining(text) });
  expect(await find("eth1")).toEqual(refused('"eth1": it is not in the container'));
  expect(await find("eth0", "02:00:00:00:00:09")).toEqual(refused("its MAC address is 0a:58:0a:00:00:02, not"));
  expect(await find("lo")).toEqual(refused('"lo": its other end is not on the host'));
});

test("a taken interface name is refused by name; a pair left in an earlier namespace is replaced", async () => {
  await using node = await makeNode("plug");
  const [old, fresh] = [await node.netns("old"), await node.netns("fresh")];
  const failure = `try { plug(attachment("c2"), "${old.path}"); } catch ({ code, message }) {
    console.log(JSON.stringify({ code, message }));
  }`;
  const said = await run(node, `plug(attachment("c1"), "${old.path}"); ${failure}`);
  expect(said).toEqual({ code: 102, message: expect.stringContaining('CNI_IFNAME "eth0"') });
  await run(node, `plug(attachment("c1"), "${fresh.path}")`);
  expect(await links(old.exec)).toEqual([]);
  expect(await links(fresh.exec)).toHaveLength(1);
});

test("unplugging finds a pair by the host's name, or by the interface's in the pod; sweeping by alias", async () => {
  await using node = await makeNode("plug");
  const pods = [];
  for (const name of ["a", "b", "c", "d"]) pods.push(await node.netns(name));
  const paths = JSON.stringify(pods.map(({ path }) => path));
  await run(
    node,
    `const paths = ${paths};
    ["a", "b", "c"].forEach((id, at) => plug(attachment(id), paths[at]));
    plug(attachment("d", "other"), paths[3]);
    unplugPod("no-such-link", paths[0], "eth0");
    unplugPod(namesOf(attachment("a")).hostName, paths[0], "eth0");
    sweepPods({ network: "net", keep: new Set(["net/b/eth0"]) });`,
  );
  expect((await links(node.exec)).map(({ ifalias }) => ifalias).sort()).toEqual(["net/b/eth0", "other/d/eth0"]);
  // Whether it was ours: what else there may be of it is another suite's if not.
  const twice = `[1, 2].map(() => unplugPod(namesOf(attachment("b")).hostName, "", "eth0"))`;
  expect(await run(node, `console.log(JSON.stringify(${twice}))`)).toEqual([true, false]);
  expect((await links(node.exec)).map(({ ifalias }) => ifalias)).toEqual(["other/d/eth0"]);
});
