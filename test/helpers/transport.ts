// A kernel that answers as a test says: the transport of a Connection is a function from requests to datagrams.
import { Writer } from "../../lib/netlink/attr.ts";
import { eachMessage, type Transport } from "../../lib/netlink/socket.ts";

/** One request as the kernel sees it. */
export interface Asked {
  type: number;
  flags: number;
  sequence: number;
  payload: Uint8Array;
}

/** What the kernel sends: datagrams of one message or several, or an Error that receiving throws. */
export type Said = Uint8Array | Error;

/** A transport; `answer` is called once for each send. `sends` holds the requests of each. */
export function kernel(answer: (requests: Asked[], send: number) => Said[]): Transport & { sends: Asked[][] } {
  const queue: Said[] = [];
  const sends: Asked[][] = [];
  return {
    sends,
    send(bytes) {
      const requests: Asked[] = [];
      eachMessage(bytes, (type, sequence, payload, flags) => requests.push({ type, flags, sequence, payload }));
      sends.push(requests);
      queue.push(...answer(requests, sends.length));
    },
    receive(wait) {
      const next = queue.shift();
      if (next instanceof Error) throw next;
      if (!next && wait) throw new Error("The kernel of this test has no more to say");
      return next ?? new Uint8Array(0);
    },
    close() {},
  };
}

/** A message with its header, padded. */
export function say(type: number, sequence: number, payload: Uint8Array, flags = 0): Uint8Array {
  const to = new Writer();
  to.u32(16 + payload.length);
  to.u16(type);
  to.u16(flags);
  to.u32(sequence);
  to.u32(4711); // port
  to.put(payload);
  to.align();
  return to.done();
}

/** Several messages in one datagram. */
export function datagram(...messages: Uint8Array[]): Uint8Array {
  const to = new Writer();
  for (const message of messages) to.put(message);
  return to.done();
}

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const CAPPED = 0x100;
export const ACK_TLVS = 0x200;
export const INTERRUPTED = 0x10;

/** An acknowledgement, or with an errno a refusal: the request's header capped, with text if there is some. */
export function acknowledge({ sequence, type, flags }: Asked, errno = 0, text?: string): Uint8Array {
  const to = new Writer();
  to.put(new Uint8Array(new Int32Array([-errno]).buffer));
  to.put(say(type, sequence, new Uint8Array(0), flags));
  if (text !== undefined) to.put(said(text));
  return say(NLMSG_ERROR, sequence, to.done(), CAPPED | (text === undefined ? 0 : ACK_TLVS));
}

/** NLMSGERR_ATTR_MSG: the kernel's own words. */
export function said(text: string): Uint8Array {
  const words = new TextEncoder().encode(`${text}\0`);
  const to = new Writer();
  to.u16(4 + words.length);
  to.u16(1);
  to.put(words);
  to.align();
  return to.done();
}

/** The end of a dump. */
export function done(sequence: number, errno = 0, text?: string, flags = 0): Uint8Array {
  const code = new Uint8Array(new Int32Array([-errno]).buffer);
  const payload = text === undefined ? code : datagram(code, said(text));
  return say(NLMSG_DONE, sequence, payload, 2 | flags | (text === undefined ? 0 : ACK_TLVS));
}
