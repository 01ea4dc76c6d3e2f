// Connections that the kernel remembers (conntrack): listed by protocol and port, and forgotten one by one.
// linux/netfilter/nfnetlink_conntrack.h CTA_*; CTA_FILTER lets a dump hold what is asked for alone, since Linux 5.8.
import { attrs, be16, bytes, ip, u8, u32, type Writer } from "./attr.ts";
import type { Answer, Message } from "./socket.ts";

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_GET = 1;
const IPCTNL_MSG_CT_DELETE = 2;
/** struct nfgenmsg, in front of every message's attributes. */
const HEADER = 4;
/** CTA_FILTER_FLAG(CTA_PROTO_NUM) and (CTA_PROTO_DST_PORT): the members of a tuple that count. */
const byProtocol = 8;
const byPort = 32;

const addresses = attrs({ source4: [1, ip], destination4: [2, ip], source6: [3, ip], destination6: [4, ip] });
const ports = attrs({ protocol: [1, u8], sourcePort: [2, be16], destinationPort: [3, be16] });
const tuple = attrs({ addresses: [1, addresses], ports: [2, ports] });
const filter = attrs({ original: [1, u32] });

// The tuple of a listed connection is sent back as it came, so that it names that very one.
const listed = attrs({ original: [1, bytes], reply: [2, tuple], id: [12, bytes], zone: [18, bytes] });
const asked = attrs({ original: [1, tuple], filter: [25, filter] });
const named = attrs({
  original: [1, { nested: true, write: bytes.write, read: bytes.read }],
  id: [12, bytes],
  zone: [18, bytes],
});

/** One direction of a connection. */
export interface Direction {
  source: string;
  destination: string;
  sourcePort: number;
  destinationPort: number;
}

/** A connection: as its first packet came, and as answers to it come. */
export interface Flow {
  protocol: number;
  original: Direction;
  reply: Direction;
  family: 2 | 10;
  /** What the kernel knows it by. */
  name: { original: Uint8Array; id?: Uint8Array; zone?: Uint8Array };
}

function message(label: string, kind: number, family: 2 | 10, write: (to: Writer) => void): Message {
  return {
    label,
    type: (NFNL_SUBSYS_CTNETLINK << 8) | kind,
    flags: 0,
    write(to) {
      to.u8(family);
      to.skip(HEADER - 1);
      write(to);
    },
  };
}

/** Asks for the connections of a protocol, first sent to this port if one is given. */
export function dumpFlows(family: 2 | 10, protocol: number, port?: number): Message {
  return message("list connections", IPCTNL_MSG_CT_GET, family, (to) =>
    asked.write(to, {
      original: { ports: { protocol, destinationPort: port } },
      filter: { original: port === undefined ? byProtocol : byProtocol | byPort },
    }),
  );
}

/** Forgets a connection. One that has ended by itself is fine. */
export function deleteFlow({ original, family, name }: Flow): Message {
  const label = `forget connection ${original.source} to ${original.destination} port ${original.destinationPort}`;
  const deletion = message(label, IPCTNL_MSG_CT_DELETE, family, (to) => named.write(to, name));
  return { ...deletion, accept: ["ENOENT"] };
}

function direction({ addresses = {}, ports = {} }: ReturnType<typeof tuple.read>): Direction {
  return {
    source: addresses.source4 ?? addresses.source6 ?? "",
    destination: addresses.destination4 ?? addresses.destination6 ?? "",
    sourcePort: ports.sourcePort ?? 0,
    destinationPort: ports.destinationPort ?? 0,
  };
}

/** Reads one connection of a list. */
export function readFlow({ payload }: Pick<Answer, "payload">): Flow {
  if (payload.length < HEADER) throw new RangeError(`Cannot read a connection from ${payload.length} bytes`);
  const { original = new Uint8Array(0), reply = {}, id, zone } = listed.read(payload.subarray(HEADER));
  const first = tuple.read(original);
  return {
    protocol: first.ports?.protocol ?? 0,
    original: direction(first),
    reply: direction(reply),
    family: payload[0] === 2 ? 2 : 10,
    name: { original, id, zone },
  };
}
