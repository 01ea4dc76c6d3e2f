// Where the agent learns which nodes there are. A source also sees to it that this node is one of them. Each kind is loaded
// when it is used: a node with a file needs no gRPC in memory.
import { host } from "../../lib/netns/netns.ts";
import { deviceName } from "../../lib/peers/device.ts";
import type { PeerNode } from "../../lib/peers/snapshot.ts";
import { nodeAddresses } from "./addresses.ts";
import { adoptDevice } from "./adopt.ts";
import { fileSource } from "./file-source.ts";
import type { Layout } from "./layout.ts";
import type { Log } from "./log.ts";
import type { NetworkSettings, Settings, SourceSettings } from "./settings.ts";

/** What a source tells. */
export interface Listener {
  /**
   * All nodes, this one among them: an entry that did not change is the same object as before. Called only with lists that
   * are whole and right; what cannot be used is told as trouble, and what was told before goes on holding.
   */
  nodes(nodes: readonly PeerNode[]): void;
  /** The source does not answer, or cannot be used; undefined: it does again. */
  trouble(text: string | undefined): void;
  /** A record that was passed over. */
  refused(text: string): void;
}

export interface Source {
  /** Begins; what goes wrong is told to the listener and tried again, not thrown. */
  start(listener: Listener): void;
  /** Ends, and takes back nothing: the node stays known to the others. */
  stop(): Promise<void>;
}

/** The source of a network. */
export async function sourceOf(network: NetworkSettings, { node, state }: Settings, log: Log): Promise<Source> {
  const { name, source, cluster, addresses, underlay } = network;
  if (source.type === "file") return fileSource(source.path, name, node);
  const self = (): Omit<PeerNode, "subnets"> =>
    addresses.length > 0 ? { name: node, addresses } : { name: node, ...nodeAddresses(host, underlay) };
  const { etcdSource } = await import("./etcd-source.ts");
  const memory = `${state}/${name}.json`;
  const layout = await layoutOf();
  return etcdSource({ settings: source, layout, memory, self, say: log.say });

  async function layoutOf(): Promise<Layout> {
    if (source.type === "etcd") {
      const { tenonLayout } = await import("./tenon-layout.ts");
      return tenonLayout(source.prefix, name, cluster);
    }
    const { flannelLayout } = await import("./flannel-layout.ts");
    const { prefix, subnetFile } = source as SourceSettings & { type: "flannel" };
    const adopt = (vni: number) => adoptDevice(host, `flannel.${vni}`, deviceName(vni));
    return flannelLayout({ prefix, network: name, subnetFile, adopt });
  }
}
