// What every plugin must pass, whatever it does: one call in its test file runs all of it.
import { expect, test } from "bun:test";
import { makeNode, type Node } from "./node.ts";
import { call, errorOf, must } from "./plugin.ts";
import { leftOver, snapshot } from "./snapshot.ts";

export interface Contract {
  /** A good configuration, without name and cniVersion. */
  conf: Record<string, unknown>;
  /** Bad ones: what is changed, and what the message must name. */
  bad: { change: Record<string, unknown>; names: string[]; code?: number }[];
  /** What DEL too may say of those: it must not seem to have released what it cannot reach. Default: nothing. */
  refusesDel?: RegExp;
  /** Default eth0. */
  ifname?: string;
  /** What may stay after the last DEL, as lines of leftOver. */
  stays?: RegExp;
  versions?: string[];
  /** Prepares a node: makes what the plugin needs to find. */
  prepare?(node: Node): Promise<void>;
  /** An attachment twice is an error (main plugins); others may repeat. */
  exclusive?: boolean;
}

const all = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/** Registers the contract's tests for the plugin `type`. */
export function contract(type: string, options: Contract): void {
  const { ifname = "eth0", stays = /^$/, versions = all, bad, refusesDel, prepare, exclusive = true } = options;
  const conf = { cniVersion: "1.1.0", name: "contract", type, ...options.conf };
  const started = async () => {
    const node = await makeNode("contract", { uplink: true });
    await prepare?.(node);
    return node;
  };
  const left = (before: string[], after: string[]) =>
    leftOver(before, after, [stays, /^. file \/run\/(netns|tenon)\b/]);

  test(`${type} VERSION lists the versions without reading stdin`, async () => {
    await using node = await started();
    const { json, stderr } = await call(node, "VERSION", "", { type });
    expect(json).toEqual({ cniVersion: "1.1.0", supportedVersions: versions });
    expect(stderr).toBe("");
  });

  test(`${type} ADD, CHECK and DEL leave nothing, in every version`, async () => {
    await using node = await started();
    const before = await snapshot(node);
    for (const cniVersion of versions) {
      const pod = await node.netns("pod");
      const at = { netns: pod.path, ifname };
      const result = await must(node, "ADD", { ...conf, cniVersion }, at);
      expect(result.cniVersion).toBe(cniVersion);
      const known = { ...conf, cniVersion, prevResult: result };
      if (all.indexOf(cniVersion) >= all.indexOf("0.4.0")) await must(node, "CHECK", known, at);
      else expect(errorOf(await call(node, "CHECK", known, { ...at, type })).code).toBe(1);
      await must(node, "DEL", all.indexOf(cniVersion) >= all.indexOf("0.4.0") ? known : { ...conf, cniVersion }, at);
      await pod.close();
      expect(left(before, await snapshot(node))).toEqual([]);
    }
  });

  test(`${type} DEL succeeds twice, before ADD, without a namespace, with a wrong one, and with a garbled prevResult`, async () => {
    await using node = await started();
    const before = await snapshot(node);
    await must(node, "DEL", conf, { ifname });
    const pod = await node.netns("pod");
    const at = { netns: pod.path, ifname };
    await must(node, "DEL", conf, at);
    const odd: any[] = [
      undefined,
      null,
      {},
      { cniVersion: "9.9.9" },
      { ips: "none" },
      { cniVersion: "0.2.0", ip4: {} },
      [],
    ];
    for (const netns of [pod.path, "", "/run/netns/none", "/etc/hostname", "/run", "/dev/null"]) {
      for (const prevResult of netns === pod.path ? odd : [undefined]) {
        await must(node, "ADD", conf, at);
        await must(node, "DEL", { ...conf, prevResult }, { netns, ifname });
        await must(node, "DEL", { ...conf, prevResult }, { netns, ifname });
        await must(node, "DEL", conf, { ifname });
      }
    }
    await pod.close();
    await must(node, "DEL", conf, at);
    expect(left(before, await snapshot(node))).toEqual([]);
  });

  test(`${type} DEL after the namespace is gone, with nothing but the container's id`, async () => {
    await using node = await started();
    const before = await snapshot(node);
    const pod = await node.netns("pod");
    await must(node, "ADD", conf, { netns: pod.path, ifname });
    await pod.close();
    await must(node, "DEL", conf, { ifname });
    expect(left(before, await snapshot(node))).toEqual([]);
  });

  if (exclusive) {
    test(`${type} ADD of what is there already is refused and changes nothing`, async () => {
      await using node = await started();
      const pod = await node.netns("pod");
      const at = { netns: pod.path, ifname };
      await must(node, "ADD", conf, at);
      const before = await snapshot(node);
      errorOf(await call(node, "ADD", conf, at));
      errorOf(await call(node, "ADD", conf, { ...at, containerId: "c2" }));
      expect(left(before, await snapshot(node))).toEqual([]);
    });
  }

  test(`${type} refuses what is wrong, names it, and changes nothing`, async () => {
    await using node = await started();
    const pod = await node.netns("pod");
    const before = await snapshot(node);
    const at = { netns: pod.path, ifname, type };
    for (const { change, names, code } of bad) {
      const error = errorOf(await call(node, "ADD", { ...conf, ...change }, at));
      for (const name of names) expect(`${error.msg} ${error.details ?? ""}`).toContain(name);
      expect(error.code).toBe(code ?? 7);
      expect(left(before, await snapshot(node))).toEqual([]);
      // A configuration that no ADD can have accepted is no reason for DEL to leave the pod hanging, nor to touch anything.
      const { exitCode, stdout } = await call(node, "DEL", { ...conf, ...change }, at);
      if (exitCode !== 0) expect(stdout).toMatch(refusesDel ?? /^$/);
      expect(left(before, await snapshot(node))).toEqual([]);
    }
    expect(errorOf(await call(node, "ADD", "{", at)).code).toBe(6);
    expect(errorOf(await call(node, "ADD", "[1]", at)).code).toBe(6);
    expect(errorOf(await call(node, "ADD", { ...conf, name: "" }, at)).code).toBe(7);
    expect(errorOf(await call(node, "ADD", { ...conf, cniVersion: "0.9.9" }, at)).code).toBe(1);
    expect(errorOf(await call(node, "ADD", conf, { ...at, netns: "" })).msg).toContain("CNI_NETNS");
    expect(errorOf(await call(node, "ADD", conf, { ...at, netns: "/run/netns/none" })).msg).toContain(
      "/run/netns/none",
    );
    expect(errorOf(await call(node, "ADD", conf, { ...at, netns: "/etc/hostname" })).msg).toContain("/etc/hostname");
    expect(errorOf(await call(node, "ADD", conf, { ...at, ifname: "way-too-long-a-name" })).code).toBe(4);
    expect(errorOf(await call(node, "ADD", conf, { ...at, containerId: "a b" })).code).toBe(4);
    expect(errorOf(await call(node, "ADD", conf, { ...at, netns: "/proc/self/ns/net" })).code).toBe(8);
    expect(errorOf(await call(node, "BAD", conf, at)).msg).toContain("BAD");
    expect(left(before, await snapshot(node))).toEqual([]);
  });

  test(`${type} GC removes what is not in the list, keeps what is, and refuses without one`, async () => {
    await using node = await started();
    const before = await snapshot(node);
    const [dead, alive] = [await node.netns("dead"), await node.netns("alive")];
    await must(node, "ADD", conf, { netns: alive.path, ifname, containerId: "alive" });
    const living = await snapshot(node);
    await must(node, "ADD", conf, { netns: dead.path, ifname, containerId: "dead" });
    await must(node, "DEL", { ...conf, name: "other" }, { containerId: "dead", ifname });
    expect(errorOf(await call(node, "GC", conf)).msg).toContain("cni.dev/valid-attachments");
    const list = (containerID: string) => ({ ...conf, "cni.dev/valid-attachments": [{ containerID, ifname }] });
    await must(node, "GC", { ...list("alive"), name: "other" });
    await dead.close();
    await must(node, "GC", list("alive"));
    await must(node, "GC", list("alive"));
    expect(left(living, await snapshot(node))).toEqual([]);
    await alive.close();
    await must(node, "GC", { ...conf, "cni.dev/valid-attachments": null }); // libcni's way to say that there are none
    expect(left(before, await snapshot(node))).toEqual([]);
  });

  test(`${type} STATUS succeeds, and GC and STATUS want 1.1.0`, async () => {
    await using node = await started();
    await must(node, "STATUS", conf);
    for (const verb of ["STATUS", "GC"]) {
      expect(errorOf(await call(node, verb, { ...conf, cniVersion: "1.0.0" })).code).toBe(1);
    }
  });
}
