// Calls of the library itself on a throw-away node: its network namespace, opened in the test's own process.
import { type Namespace, openNamespace } from "../../lib/netns/netns.ts";
import { makeNode, type Node } from "./node.ts";

/** A node, its namespace, and a pod's; all gone when `body` has ended. `ip` runs ip -j in the node. */
export async function onNode(
  body: (place: { node: Node; ns: Namespace; pod: Namespace; ip(...args: string[]): Promise<any[]> }) => Promise<void>,
): Promise<void> {
  const node = await makeNode("library");
  try {
    await node.netns("pod");
    const ns = openNamespace(node.path("/proc/1/ns/net"));
    const pod = openNamespace(node.path("/run/netns/pod"));
    try {
      const ip = async (...args: string[]) => JSON.parse((await node.exec("ip", ["-j", "-d", ...args])).stdout || "[]");
      await body({ node, ns, pod, ip });
    } finally {
      ns.close();
      pod.close();
    }
  } finally {
    await node.close();
  }
}
