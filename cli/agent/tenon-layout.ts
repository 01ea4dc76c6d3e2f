// Tenon's keys in etcd, below PREFIX/NETWORK/:
//   config             the ranges of the cluster, written by the first node; every other one must have the same
//   subnets/CIDR       a claim, "10.244.3.0-24", created only where there is none: {"node", "id"}
//   nodes/NAME         a node as in the snapshot, and its "id"
// Claims and nodes are under the node's lease. Only its renewal is a heartbeat, and no other node hears of that.
import type { PeerNode } from "../../lib/peers/snapshot.ts";
import { Subnets } from "./claim.ts";
import { type Layout, putOnce, type Session, takeKey } from "./layout.ts";
import { readNode } from "./records.ts";
import type { Range } from "./settings.ts";

/** Claims that are lost to other nodes one after the other until the session is given up. */
const TRIES = 200;

export function tenonLayout(prefix: string, network: string, ranges: readonly Range[]): Layout {
  const folder = `${prefix}/${network}`;
  const nodes = `${folder}/nodes/`;
  const subnets = `${folder}/subnets/`;
  const subnetKey = (subnet: string) => `${subnets}${subnet.replace("/", "-")}`;
  const subnetOf = (key: string) => key.slice(subnets.length).replace(/-(\d+)$/, "/$1");

  /** What the cluster's ranges are is decided once: nodes of two minds would claim subnets that overlap. */
  async function agree({ client }: Session): Promise<void> {
    const key = `${folder}/config`;
    const mine = JSON.stringify({ cluster: ranges.map(({ cidr, size }) => ({ cidr, size })) });
    const { succeeded, responses } = await client
      .if(key, "Create", "==", 0)
      .then(client.put(key).value(mine))
      .else(client.get(key))
      .commit();
    const theirs = succeeded ? mine : responses[0]!.response_range!.kvs[0]!.value.toString();
    if (theirs !== mine)
      throw new Error(`Cannot join network "${network}": its ranges in etcd are ${theirs}, here ${mine}`);
  }

  /** Another machine of this name must not be alive: both would use the same subnets. */
  async function assertAlone({ client, memory, self, terms, lease }: Session): Promise<void> {
    const { kvs } = await client.get(`${nodes}${self.name}`).exec();
    const there = kvs[0];
    if (!there || `${there.lease}` === lease) return;
    let id: unknown;
    try {
      ({ id } = JSON.parse(there.value.toString()));
    } catch {
      return; // nobody's: it is written over
    }
    if (id === memory.id || `${there.lease}` === "0") return;
    const { TTL } = await client.leaseClient.leaseTimeToLive({ ID: there.lease });
    // Renewed within the last heartbeats: this is no machine that was installed anew.
    if (Number(TTL) > terms.lease - 3 * terms.heartbeat - 1)
      throw new Error(`Cannot join network "${network}": another machine is node "${self.name}" and alive`);
  }

  const take = (session: Session, subnet: string) => {
    const { name: node } = session.self;
    const value = JSON.stringify({ node, id: session.memory.id });
    return takeKey(session, subnetKey(subnet), value, (there) => isOwn(there, node));
  };

  async function claim(session: Session, range: Range): Promise<string> {
    const { client, memory, self, say } = session;
    const held = (subnet: string) => new Subnets(range).holds(subnet);
    const remembered = memory.subnets.find(held);
    if (remembered !== undefined) {
      if (await take(session, remembered)) return remembered;
      say(`${network}: subnet ${remembered} is another node's by now; pods that have addresses of it are cut off`);
    }
    for (let tries = 0; tries < TRIES; tries++) {
      const { kvs } = await client.getAll().prefix(subnets).exec();
      const claims = kvs.map(({ key, value }) => ({ subnet: subnetOf(key.toString()), value: value.toString() }));
      const own = claims.find(({ subnet, value }) => held(subnet) && isOwn(value, self.name))?.subnet;
      if (own !== undefined && (await take(session, own))) return own;
      const map = new Subnets(range);
      for (const { subnet } of claims) map.take(subnet);
      // Several tries on one list: whoever else is claiming now has most likely got one of the first.
      for (let some = 0; some < 4; some++) {
        const subnet = map.next(self.name);
        if (subnet === undefined)
          throw new Error(`Cannot join network "${network}": all subnets of ${range.cidr} are taken`);
        if (await take(session, subnet)) {
          say(`${network}: claimed subnet ${subnet}`);
          return subnet;
        }
      }
    }
    throw new Error(`Cannot join network "${network}": others were faster ${TRIES} times`);
  }

  return {
    nodes,
    read(key, value) {
      const { id, ...json } = JSON.parse(value);
      const node = readNode(json, key);
      if (`${nodes}${node.name}` !== key) throw new Error(`Cannot use "${key}": it holds node "${node.name}"`);
      return node;
    },
    async join(session) {
      await agree(session);
      await assertAlone(session);
      const own: string[] = [];
      for (const range of ranges) own.push(await claim(session, range));
      session.memory.subnets = own;
      const { name, ...rest } = session.self;
      const node: PeerNode = { name, subnets: own, ...rest };
      const key = `${nodes}${name}`;
      await putOnce(session, key, JSON.stringify({ ...node, id: session.memory.id }));
      return key;
    },
  };
}

function isOwn(value: string, node: string): boolean {
  try {
    return JSON.parse(value).node === node;
  } catch {
    return false;
  }
}
