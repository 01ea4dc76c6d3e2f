// A netlink conversation: requests out in one send, acknowledgements and answers back.
// RFC 3549; linux/netlink.h. Every request asks for an acknowledgement with extended-ack text.
import { errno, errnoName, errnoText, isErrno, SystemError, system } from "../sys/libc.ts";
import { mapped } from "../sys/list.ts";
import { attrs, text, u32, Writer } from "./attr.ts";

export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_ECHO = 8;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSG_MIN_TYPE = 16;

const SOL_NETLINK = 270;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const HEADER = 16;
/** Room for the answers to a batch of thousands; the default holds 277 acknowledgements, and loses what comes after. */
const RECEIVE_BUFFER = 4 << 20;

/** Requests in one send: the answer to a look at one of nftables' elements takes 1.5 KB of that room. */
const IN_ONE_SEND = 1024;

/** NLMSGERR_ATTR_*: what the kernel says of a refusal. */
const refusal = attrs({ message: [1, text], offset: [2, u32] });

/** One thing asked of the kernel. `label` names it in errors: "create link eth0". */
export interface Message {
  label: string;
  type: number;
  flags: number;
  write(to: Writer): void;
  /** errno names that are no failure for this request: EEXIST for what may be there already. */
  accept?: readonly string[];
}

/** What came back for one request: the refusal, if any, and the payloads of answers (headers taken off). */
export interface Reply {
  error?: NetlinkError;
  answers: Answer[];
}

export interface Answer {
  type: number;
  payload: Uint8Array;
}

/** A request that the kernel refused: what was asked, the errno name, the kernel's own words. */
export class NetlinkError extends Error {
  readonly operation: string;
  readonly errno: number;
  readonly code: string;
  constructor(operation: string, errno: number, kernelText?: string) {
    const said = kernelText?.endsWith(".") ? kernelText.slice(0, -1) : kernelText;
    super(`Cannot ${operation}: ${errnoText(errno)}${said ? ` (${said})` : ""}`);
    this.operation = operation;
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/** Moves bytes to the kernel and back: a socket, or a function in a test. */
export interface Transport {
  send(bytes: Uint8Array): void;
  /** The next datagram; an empty array if none is waiting and `wait` is false. */
  receive(wait: boolean): Uint8Array;
  close(): void;
}

/** A socket of one netlink family, in the network namespace that the caller is in now. */
export function openSocket(protocol: number, options: { groups?: number; timeoutMs?: number } = {}): SocketTransport {
  return new SocketTransport(protocol, options);
}

/** Where datagrams arrive, one at a time for all sockets. The kernel makes none over 32 KiB for dumps. */
const received = new Uint8Array(65536);

class SocketTransport implements Transport {
  readonly fd: number;
  #room = 0;

  constructor(protocol: number, { groups = 0, timeoutMs = 10_000 }: { groups?: number; timeoutMs?: number }) {
    const SOCK_RAW_CLOEXEC = 0o2000003;
    this.fd = system("socket", 16, SOCK_RAW_CLOEXEC, protocol);
    if (this.fd < 0) throw new SystemError("open a netlink socket", errno());
    const one = new Uint8Array([1, 0, 0, 0]);
    system("setsockopt", this.fd, SOL_NETLINK, 11, one, 4); // NETLINK_EXT_ACK
    system("setsockopt", this.fd, SOL_NETLINK, 10, one, 4); // NETLINK_CAP_ACK: no copy of the request in errors
    system("setsockopt", this.fd, SOL_NETLINK, 12, one, 4); // NETLINK_GET_STRICT_CHK: dumps filtered by the kernel
    const room = new Uint8Array(4);
    new DataView(room.buffer).setUint32(0, RECEIVE_BUFFER, true);
    system("setsockopt", this.fd, 1, 33, room, 4); // SO_RCVBUFFORCE; refused to who is not root: then less fits
    const timeout = new Uint8Array(16);
    const view = new DataView(timeout.buffer);
    view.setUint32(0, Math.floor(timeoutMs / 1000), true); // struct timeval: two numbers of 64 bits
    view.setUint32(8, (timeoutMs % 1000) * 1000, true);
    system("setsockopt", this.fd, 1, 20, timeout, 16); // SO_RCVTIMEO
    const address = new Uint8Array(12); // sockaddr_nl: family, pad, pid, groups
    address[0] = 16;
    new DataView(address.buffer).setUint32(8, groups, true);
    if (system("bind", this.fd, address, 12) < 0) throw new SystemError("bind a netlink socket", errno());
  }

  send(bytes: Uint8Array): void {
    for (;;) {
      if (system("sendto", this.fd, bytes, bytes.length, 0) >= 0) return;
      const error = errno();
      // Over the send buffer, which is made as large as it must be: a transaction cannot go in two.
      if (error === 90 && this.#enlarge(bytes.length)) continue;
      if (error !== 4) throw new SystemError(`send ${bytes.length} bytes to the kernel`, error);
    }
  }

  /** Makes room to send `length` bytes; false where that was done already, or is not allowed. */
  #enlarge(length: number): boolean {
    if (length <= this.#room) return false;
    this.#room = length;
    const room = new Uint8Array(4);
    new DataView(room.buffer).setUint32(0, length, true); // the kernel doubles it
    return system("setsockopt", this.fd, 1, 32, room, 4) >= 0; // SO_SNDBUFFORCE
  }

  receive(wait: boolean): Uint8Array {
    for (;;) {
      const length = system("recvfrom", this.fd, received, received.length, MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT));
      if (length > received.length) throw new RangeError(`Cannot receive ${length} bytes: over the buffer`);
      // A copy: the buffer is used again by the next datagram.
      if (length >= 0) return new Uint8Array(received.subarray(0, length));
      const error = errno();
      if (error === 4) continue;
      if (error === 11 && !wait) return new Uint8Array(0);
      throw new SystemError("receive from the kernel", error === 11 ? 110 : error);
    }
  }

  close(): void {
    system("close", this.fd);
  }
}

/** Requests and dumps over one transport. Sequence numbers tie answers to requests. */
export class Connection {
  readonly transport: Transport;
  #sequence = 1;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  /**
   * Sends the messages together, thousands in several sends; the kernel works through them in order, and one refused does
   * not stop the next. Throws the first refusal that its message does not accept, after all replies are in.
   */
  request(...messages: Message[]): Reply[] {
    const replies = this.try(...messages);
    for (let i = 0; i < replies.length; i++) {
      const { error } = replies[i]!;
      if (error && !messages[i]!.accept?.includes(error.code)) throw error;
    }
    return replies;
  }

  /** Like request, but leaves every refusal to the caller. */
  try(...messages: Message[]): Reply[] {
    if (messages.length <= IN_ONE_SEND) return this.#exchange(messages);
    const replies: Reply[] = [];
    for (let at = 0; at < messages.length; at += IN_ONE_SEND)
      replies.push(...this.#exchange(messages.slice(at, at + IN_ONE_SEND)));
    return replies;
  }

  #exchange(messages: readonly Message[]): Reply[] {
    if (messages.length === 0) return [];
    const first = this.#sequence;
    const to = new Writer();
    for (const message of messages) writeMessage(to, message, this.#sequence++, NLM_F_ACK);
    this.transport.send(to.done());
    const replies = mapped(messages, (): Reply => ({ answers: [] }));
    for (let open = messages.length; open > 0; ) {
      // rtnetlink answers inside send(), so waiting is for families that do not.
      eachMessage(this.#receive(), (type, sequence, payload, flags) => {
        const reply = replies[sequence - first];
        if (!reply) return; // an answer to an earlier request that was given up, or a notification
        if (type === NLMSG_ERROR) {
          open--;
          const error = readError(messages[sequence - first]!.label, payload, flags, HEADER);
          if (error) reply.error = error;
        } else if (type >= NLMSG_MIN_TYPE) reply.answers.push({ type, payload });
      });
    }
    return replies;
  }

  /**
   * Sends `messages` as one transaction, between `begin` and `end`: all take effect or none does (nfnetlink alone knows
   * this). The first reply is of the whole, the others of the messages; an error anywhere means that nothing was done.
   */
  batch(begin: Message, messages: readonly Message[], end: Message): Reply[] {
    const all = [begin, ...messages, end];
    const first = this.#sequence;
    const last = messages.length;
    const to = new Writer();
    // Errors come unasked. The last message alone is acknowledged: thousands of acknowledgements would not fit the socket.
    const replies: Reply[] = [];
    for (const message of all) {
      writeMessage(to, message, this.#sequence++, replies.length === last ? NLM_F_ACK : 0);
      replies.push({ answers: [] });
    }
    replies.pop(); // nothing is ever said of the end
    this.transport.send(to.done());
    for (let open = true; open; ) {
      eachMessage(this.#receive(), (type, sequence, payload, flags) => {
        const at = sequence - first;
        if (type !== NLMSG_ERROR || !replies[at]) return;
        const error = readError(all[at]!.label, payload, flags, HEADER);
        if (error) replies[at].error = error;
        // A batch refused as a whole tells so at its beginning, and maybe nothing else.
        if (at === last || (at === 0 && error)) open = false;
      });
    }
    return replies;
  }

  /**
   * Everything of one kind. A dump that the kernel marks as interrupted by a change is asked for again; one refused
   * with an errno that the message accepts ends where it is.
   */
  dump(message: Message): Answer[] {
    for (let attempt = 0; attempt < 32; attempt++) {
      const sequence = this.#sequence++;
      const to = new Writer();
      writeMessage(to, message, sequence, NLM_F_DUMP);
      this.transport.send(to.done());
      const answers: Answer[] = [];
      let done = false;
      let interrupted = false;
      while (!done) {
        eachMessage(this.#receive(), (type, theirs, payload, flags) => {
          if (theirs !== sequence) return;
          if (flags & NLM_F_DUMP_INTR) interrupted = true;
          if (type === NLMSG_DONE || type === NLMSG_ERROR) {
            done = true;
            const error = readError(message.label, payload, flags, type === NLMSG_DONE ? 0 : HEADER);
            if (error && !message.accept?.includes(error.code)) throw error;
          } else if (type >= NLMSG_MIN_TYPE) answers.push({ type, payload });
        });
      }
      if (!interrupted) return answers;
    }
    throw new NetlinkError(message.label, 4, "changed during each of 32 dumps");
  }

  // Once replies were lost (ENOBUFS), the kernel drops all further ones until the socket has been read empty.
  #receive(): Uint8Array {
    try {
      return this.transport.receive(true);
    } catch (error) {
      if (isErrno(error, "ENOBUFS")) while (this.transport.receive(false).length > 0);
      throw error;
    }
  }

  close(): void {
    this.transport.close();
  }
}

/** Appends one message with its header. */
export function writeMessage(to: Writer, { type, flags, write }: Message, sequence: number, extra: number): void {
  const at = to.skip(HEADER);
  write(to);
  to.view.setUint32(at, to.length - at, true);
  to.view.setUint16(at + 4, type, true);
  to.view.setUint16(at + 6, flags | NLM_F_REQUEST | extra, true);
  to.view.setUint32(at + 8, sequence, true);
  to.align();
}

/** Calls `visit` for each message in a datagram. */
export function eachMessage(
  from: Uint8Array,
  visit: (type: number, sequence: number, payload: Uint8Array, flags: number) => void,
): void {
  const view = new DataView(from.buffer, from.byteOffset, from.length);
  for (let at = 0; at + HEADER <= from.length; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER || at + length > from.length)
      throw new RangeError(`Cannot read a message of ${length} bytes: ${from.length - at} are left`);
    visit(
      view.getUint16(at + 4, true),
      view.getUint32(at + 8, true),
      from.subarray(at + HEADER, at + length),
      view.getUint16(at + 6, true),
    );
    at += (length + 3) & ~3;
  }
}

/** `header`: the size of the request's header that an ERROR repeats; a DONE repeats nothing. */
function readError(label: string, payload: Uint8Array, flags: number, header: number): NetlinkError | undefined {
  if (payload.length < 4 && header === 0) return undefined; // a DONE of old kernels carries nothing
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const code = -view.getInt32(0, true);
  if (code <= 0) return undefined;
  let said: string | undefined;
  if (flags & NLM_F_ACK_TLVS) {
    const repeated = header === 0 || flags & NLM_F_CAPPED ? header : view.getUint32(4, true);
    said = refusal.read(payload.subarray(4 + ((repeated + 3) & ~3))).message;
  }
  return new NetlinkError(label, code, said);
}
