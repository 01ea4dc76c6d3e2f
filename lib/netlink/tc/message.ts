// Traffic control: what the messages of queueing disciplines, classes and filters have in common: the header, the kind,
// the settings by the kind's table. linux/rtnetlink.h struct tcmsg, TCA_*; linux/pkt_sched.h TC_H_*.
import { attrs, eachAttr, type Table, type Type, text, type Writer, writeAttr } from "../attr.ts";
import type { Answer } from "../socket.ts";

/** Parent of the one queueing discipline that a link's sending starts at. */
export const TC_H_ROOT = 0xffffffff;
/** Parent of the hooks for frames that come in (`ingress`), or that come in and go out (`clsact`). */
export const TC_H_CLSACT = 0xfffffff1;
/** Parent of filters on frames that come in; of either kind of hook. */
export const TC_H_MIN_INGRESS = 0xfffffff2;

/** A handle, as `tc` writes it: "1:30" is handle(1, 0x30). */
export function handle(major: number, minor = 0): number {
  return major * 0x10000 + minor;
}

/** Where in the tree of a link something stands. */
export interface Place {
  /** The link's index. */
  link: number;
  handle?: number;
  parent?: number;
}

/** Any object of traffic control, as told to the kernel and by it. */
export interface TcObject extends Place {
  kind?: string;
  /** Settings, by the table of the kind; of kinds without one, nothing. */
  options?: Record<string, unknown>;
}

export type Kinds = Readonly<Record<string, Table<any> | Type<any>>>;

const HEADER = 20;
const common = attrs({ kind: [1, text] });

/** Writes header and attributes. `info` is the header's last word, which only filters have a use for. */
export function writeObject(to: Writer, object: TcObject, kinds: Kinds, info = 0): void {
  const { link, handle = 0, parent = 0, kind, options } = object;
  if (!(link > 0)) throw new TypeError(`Cannot write a ${kind ?? "traffic control"} object: its link is not given`);
  const at = to.skip(HEADER);
  to.view.setInt32(at + 4, link, true);
  to.view.setUint32(at + 8, handle, true);
  to.view.setUint32(at + 12, parent, true);
  to.view.setUint32(at + 16, info, true);
  common.write(to, { kind });
  if (options === undefined) return;
  const table = kind === undefined ? undefined : kinds[kind];
  if (!table) throw new TypeError(`Cannot write settings of kind "${kind}": no table for it`);
  writeAttr(to, 2, table, options);
}

/** Reads the payload of an answer. */
export function readObject({ payload }: Pick<Answer, "payload">, kinds: Kinds): TcObject & { info: number } {
  if (payload.length < HEADER) throw new RangeError(`Cannot read traffic control from ${payload.length} bytes`);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const object: TcObject & { info: number } = {
    link: view.getInt32(4, true),
    handle: view.getUint32(8, true),
    parent: view.getUint32(12, true),
    info: view.getUint32(16, true),
  };
  eachAttr(payload.subarray(HEADER), (type, value) => {
    if (type === 1) object.kind = text.read(value);
    else if (type === 2 && object.kind !== undefined && Object.hasOwn(kinds, object.kind)) {
      // What hooks and plain queues say of themselves is empty, whatever their settings were.
      if (value.length > 0) object.options = kinds[object.kind]!.read(value);
    }
  });
  return object;
}
