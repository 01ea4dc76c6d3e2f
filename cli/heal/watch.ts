// Hears what the kernel tells, without a thread and without polling: the runtime's event loop waits on the netlink sockets
// themselves. What was lost for want of room (ENOBUFS) is told too: then nothing that is remembered can be trusted.
//
// Bun.connect adopts a descriptor, reads one datagram at a time and ends with the errno of a failed read. Rejected: a thread
// that blocks in recv(2) (10 MB for each), SIGIO (a signal interrupts whatever the process does).
import { openSocket } from "../../lib/netlink/socket.ts";
import { host, type Namespace } from "../../lib/netns/netns.ts";
import { addressOf, system } from "../../lib/sys/libc.ts";
import { type Event, nftablesGroups, readRouteEvents, routeGroups, Transactions } from "./events.ts";

const NETLINK_ROUTE = 0;
const NETLINK_NETFILTER = 12;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_ATTACH_FILTER = 26;

export interface Watch {
  stop(): void;
}

export interface Listener {
  heard(events: Event[]): void;
  /** News was lost: everything has to be looked at. */
  lost(): void;
}

/** Watches a network namespace. `room`: bytes for news that wait, of each socket. */
export async function watchKernel(listener: Listener, room = 16 << 20, ns = host): Promise<Watch> {
  const transactions = new Transactions();
  const sockets = await Promise.all([
    hear(() => listen(ns, NETLINK_ROUTE, routeGroups, room), listener, readRouteEvents),
    hear(
      () => listen(ns, NETLINK_NETFILTER, nftablesGroups, room),
      listener,
      (datagram) => transactions.read(datagram),
    ),
  ]);
  return {
    stop: () => {
      for (const socket of sockets) socket.stop();
    },
  };
}

/** A socket that hears these groups; its descriptor. */
function listen(ns: Namespace, protocol: number, groups: number, room: number): number {
  const { fd } = ns.run(() => openSocket(protocol, { groups }));
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, room, true);
  system("setsockopt", fd, SOL_SOCKET, SO_RCVBUFFORCE, size, 4);
  if (protocol === NETLINK_ROUTE) attachFilter(fd);
  return fd;
}

async function hear(
  listen: () => number,
  { heard, lost }: Listener,
  read: (datagram: Uint8Array) => Event[],
): Promise<Watch> {
  let stopped = false;
  let current: { end(): void } | undefined;
  const open = async () => {
    current = (await Bun.connect({
      fd: listen(),
      socket: {
        data(_: unknown, datagram: Uint8Array) {
          let events: Event[];
          try {
            events = read(datagram);
          } catch {
            return lost(); // what cannot be read may have been about us
          }
          if (events.length > 0) heard(events);
        },
        close() {
          if (stopped) return;
          // Opened before everything is looked at, so that nothing falls in between; late enough not to spin in a storm.
          setTimeout(() => void (stopped || open().then(lost)), 100);
        },
        error() {}, // close follows
      },
    } as any)) as unknown as { end(): void };
    if (stopped) current.end();
  };
  await open();
  return {
    stop: () => {
      stopped = true;
      current?.end();
    },
  };
}

/** Leaves out, in the kernel, RTM_NEWNEIGH: neighbours that are learnt, again and again. */
function attachFilter(fd: number): void {
  const [LOAD_HALF, EQUAL, RETURN] = [0x28, 0x15, 0x06];
  // struct sock_filter { u16 code, u8 true, u8 false, u32 k }. Loads are of network order: type 28 reads as 0x1c00.
  const program: [number, number, number, number][] = [
    [LOAD_HALF!, 0, 0, 4],
    [EQUAL!, 0, 1, 28 << 8],
    [RETURN!, 0, 0, 0],
    [RETURN!, 0, 0, 0xffffffff],
  ];
  const code = new Uint8Array(new ArrayBuffer(program.length * 8));
  const view = new DataView(code.buffer);
  program.forEach(([what, yes, no, k], at) => {
    view.setUint16(at * 8, what, true);
    view.setUint8(at * 8 + 2, yes);
    view.setUint8(at * 8 + 3, no);
    view.setUint32(at * 8 + 4, k, true);
  });
  const bytes = new Uint8Array(16); // struct sock_fprog { u16 length; struct sock_filter *filter }
  const header = new DataView(bytes.buffer);
  header.setUint16(0, program.length, true);
  header.setBigUint64(8, BigInt(addressOf(code)), true);
  system("setsockopt", fd, SOL_SOCKET, SO_ATTACH_FILTER, bytes, 16);
  view.setUint8(0, 0); // used until here, so not collected before
}
