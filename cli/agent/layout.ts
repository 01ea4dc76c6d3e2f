// How a network's nodes are written down in etcd: Tenon's own way and Flannel's are the two.
import type { Etcd3 } from "etcd3";
import type { PeerNode } from "../../lib/peers/snapshot.ts";
import type { Memory } from "./memory.ts";

/** One connection to etcd, with this node's lease. */
export interface Session {
  client: Etcd3;
  lease: string;
  /** Seconds that the lease lasts, and between two of its renewals. */
  terms: { lease: number; heartbeat: number };
  memory: Memory;
  /** This node but for its subnets. */
  self: Omit<PeerNode, "subnets">;
  say(text: string): void;
}

export interface Layout {
  /** What all keys of nodes begin with. */
  nodes: string;
  /** The node in a record; undefined for a key that holds none. Throws what is wrong with it. */
  read(key: string, value: string): PeerNode | undefined;
  /**
   * Claims this node's subnets and writes its record, both under the lease, where that is not so already. What it changes in
   * the memory is kept. Returns the key of the record.
   */
  join(session: Session): Promise<string>;
}

/** Takes a key for this node if it is free or, going by its value, this node's own; whether it is this node's now. */
export async function takeKey(
  { client, lease }: Pick<Session, "client" | "lease">,
  key: string,
  value: string,
  isOwn: (there: string) => boolean,
): Promise<boolean> {
  const { succeeded, responses } = await client
    .if(key, "Create", "==", 0)
    .then(client.put(key).value(value).lease(lease))
    .else(client.get(key))
    .commit();
  if (succeeded) return true;
  if (!isOwn(responses[0]!.response_range!.kvs[0]!.value.toString())) return false;
  await putOnce({ client, lease }, key, value);
  return true;
}

/** Puts a value under a lease, unless it is there so already. */
export async function putOnce(
  { client, lease }: Pick<Session, "client" | "lease">,
  key: string,
  value: string,
): Promise<void> {
  const { kvs } = await client.get(key).exec();
  const there = kvs[0];
  if (there && `${there.lease}` === lease && there.value.toString() === value) return;
  await client.put(key).value(value).lease(lease).exec();
}
