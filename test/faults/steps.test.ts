// Every step of ADD and DEL made to fail, or to be the last: strace(1) injects the error or the signal.
import { expect, test } from "bun:test";
import { makeNode, type Node } from "../helpers/node.ts";
import { call, errorOf, must, ours, soak } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";

const conf = {
  cniVersion: "1.1.0",
  name: "faults",
  type: "bridge",
  isGateway: true,
  ipMasq: true,
  macspoofchk: true,
  ipam: {
    type: "host-local",
    ranges: [[{ subnet: "10.1.0.0/16" }], [{ subnet: "fd00:1::/64" }]],
    routes: [{ dst: "0.0.0.0/0" }],
  },
};

/** What the first pod of a node leaves for the next: made once before anything is compared. */
const allowed = [/\/run\/tenon/, /last_reserved_ip/];

/** The calls that change something, or that what follows depends on. */
const calls = [
  "sendto",
  "setns",
  "linkat",
  "unlinkat",
  "pwrite64",
  "ftruncate",
  "write",
  "socket",
  "openat",
  "recvfrom",
  "clone",
  "mkdirat",
];

async function traced(node: Node, verb: string, more: object, netns: string, inject: string[]) {
  return await node.exec(
    "strace",
    ["-f", "-qq", "-o", "/dev/null", ...inject.flatMap((one) => ["-e", one]), `${ours}/bridge`],
    {
      input: JSON.stringify({ ...conf, ...more }),
      env: { CNI_COMMAND: verb, CNI_CONTAINERID: "c1", CNI_NETNS: netns, CNI_IFNAME: "eth0", CNI_PATH: ours },
      reject: false,
    },
  );
}

/** How often a call is made in one run of `verb`, after the runtime's own start. */
async function count(node: Node, verb: string, more: object, netns: string): Promise<Map<string, number>> {
  const file = `${node.dir}/trace`;
  await node.exec("strace", ["-f", "-qq", "-o", file, "-e", `trace=${calls.join(",")}`, `${ours}/bridge`], {
    input: JSON.stringify({ ...conf, ...more }),
    env: { CNI_COMMAND: verb, CNI_CONTAINERID: "c1", CNI_NETNS: netns, CNI_IFNAME: "eth0", CNI_PATH: ours },
  });
  const counts = new Map<string, number>();
  for (const line of (await node.exec("cat", [file])).stdout.split("\n")) {
    const name = /^\d+\s+(\w+)\(/.exec(line)?.[1];
    if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

/** A node on which the bridge, the tables and the folders exist, with a pod, and what it then holds. */
async function prepared() {
  const node = await makeNode("faults");
  const pod = await node.netns("pod");
  const at = { netns: pod.path };
  const prevResult = await must(node, "ADD", conf, at);
  const added = await count(node, "DEL", { prevResult }, pod.path);
  await must(node, "DEL", { ...conf, prevResult }, at);
  const clean = [...(await snapshot(node)), ...(await snapshot(pod)).map((line) => `pod ${line}`)];
  const now = async () => [...(await snapshot(node)), ...(await snapshot(pod)).map((line) => `pod ${line}`)];
  return { node, pod, at, clean, now, dels: added };
}

/** All steps in a soak, some thirty of them otherwise, spread over the whole run. */
function chosen(counts: Map<string, number>): [string, number][] {
  const steps = [...counts].flatMap(([name, times]) =>
    Array.from({ length: times }, (_, at): [string, number] => [name, at + 1]),
  );
  const stride = soak ? 1 : Math.max(1, Math.floor(steps.length / 30));
  return steps.filter((_, at) => at % stride === 0);
}

test("ADD killed at any step: DEL leaves nothing", async () => {
  const { node, pod, at, clean, now } = await prepared();
  try {
    const counts = await count(node, "ADD", {}, pod.path);
    await must(node, "DEL", conf, at);
    for (const [name, times] of chosen(counts)) {
      await traced(node, "ADD", {}, pod.path, [`inject=${name}:signal=KILL:when=${times}`]);
      await must(node, "DEL", conf, at);
      expect([`${name} ${times}`, leftOver(clean, await now(), allowed)]).toEqual([`${name} ${times}`, []]);
    }
  } finally {
    await node.close();
  }
});

test("ADD killed at any step, its pod gone: GC leaves nothing", async () => {
  const { node, at, clean, now } = await prepared();
  try {
    const pods = await node.netns("other");
    const counts = await count(node, "ADD", {}, pods.path);
    await must(node, "DEL", conf, { netns: pods.path });
    await pods.close();
    for (const [name, times] of chosen(counts)) {
      const other = await node.netns("other");
      await traced(node, "ADD", {}, other.path, [`inject=${name}:signal=KILL:when=${times}`]);
      await other.close();
      await must(node, "GC", { ...conf, "cni.dev/valid-attachments": [] }, at);
      const left = leftOver(clean, await now(), [...allowed, /nft/]);
      expect([`${name} ${times}`, left]).toEqual([`${name} ${times}`, []]);
    }
  } finally {
    await node.close();
  }
});

test("ADD refused by the kernel at any step undoes itself and says what was refused", async () => {
  const { node, pod, at, clean, now } = await prepared();
  try {
    const counts = await count(node, "ADD", {}, pod.path);
    await must(node, "DEL", conf, at);
    for (const name of ["openat", "clone", "recvfrom", "write"]) counts.delete(name); // the runtime's own, or the answer itself
    for (const [name, times] of chosen(counts)) {
      const error = name === "sendto" ? "ENOBUFS" : "ENOSPC";
      const { stdout, exitCode } = await traced(node, "ADD", {}, pod.path, [
        `inject=${name}:error=${error}:when=${times}`,
      ]);
      if (exitCode === 0) {
        // Not every call must succeed: the pointer and the cache are hints.
        await must(node, "DEL", conf, at);
      } else {
        const said = errorOf({ exitCode, stdout, stderr: "", json: JSON.parse(stdout) });
        expect(said.msg).toMatch(/^Cannot /);
        expect(stdout).not.toMatch(/\.ts:\d|\bat \w+ \(/);
      }
      expect([`${name} ${times}`, leftOver(clean, await now(), allowed)]).toEqual([`${name} ${times}`, []]);
    }
  } finally {
    await node.close();
  }
});

test("DEL killed at any step: the next DEL leaves nothing", async () => {
  const { node, pod, at, clean, now, dels } = await prepared();
  try {
    for (const [name, times] of chosen(dels)) {
      const prevResult = await must(node, "ADD", conf, at);
      await traced(node, "DEL", { prevResult }, pod.path, [`inject=${name}:signal=KILL:when=${times}`]);
      await must(node, "DEL", conf, { netns: "" }); // as a runtime repeats it: nothing but the container's id
      // A helper that was alone in knowing may still be at it.
      await Bun.sleep(40);
      expect([`${name} ${times}`, leftOver(clean, await now(), allowed)]).toEqual([`${name} ${times}`, []]);
    }
  } finally {
    await node.close();
  }
});

test("a disk without room: ADD fails cleanly, DEL works, and what was there is as it was", async () => {
  await using node = await makeNode("full");
  const [first, second] = [await node.netns("a"), await node.netns("b")];
  await node.exec("mount", ["-t", "tmpfs", "-o", "size=16k,nr_inodes=6", "tmpfs", "/var/lib/cni"]);
  const small = { ...conf, ipam: { ...conf.ipam, ranges: [[{ subnet: "10.1.0.0/16" }]] } };
  await must(node, "ADD", small, { netns: first.path, containerId: "a" });
  await node.exec("sh", [
    "-c",
    "i=0; while touch /var/lib/cni/fill$i 2>/dev/null; do i=$((i+1)); done; dd if=/dev/zero of=/var/lib/cni/fill0 bs=1k count=64 2>/dev/null || true",
  ]);
  const before = await snapshot(node);
  const { msg } = errorOf(await call(node, "ADD", small, { netns: second.path, containerId: "b" }));
  expect(msg).toMatch(/no space left on device/);
  expect(leftOver(before, await snapshot(node), allowed)).toEqual([]);
  await must(node, "DEL", small, { netns: first.path, containerId: "a" });
});

test("a PID 1 that does not reap: helpers are given up, and STATUS says so", async () => {
  await using node = await makeNode("zombies", { reaps: false });
  const pod = await node.netns("pod");
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 3; i++) {
      await must(node, "ADD", conf, { netns: pod.path });
      await must(node, "DEL", conf, { netns: pod.path });
    }
    if (round === 0) await Bun.sleep(2200);
  }
  const { stdout } = await node.exec("sh", ["-c", "cat /proc/[0-9]*/stat"]);
  const zombies = stdout.split("\n").filter((line) => /\(bridge\) Z /.test(line));
  expect(zombies.length).toBe(3);
  const status = await call(node, "STATUS", conf);
  expect(status.exitCode).toBe(0);
  expect(status.stderr).toContain("/run/tenon/plain-delete");
});
