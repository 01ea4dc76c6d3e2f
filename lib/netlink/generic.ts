// Generic netlink: families are numbered when they are registered, and found by name. linux/genetlink.h.
import { attrs, text, u16, type Writer } from "./attr.ts";
import type { Answer, Connection, Message } from "./socket.ts";

export const NETLINK_GENERIC = 16;
const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
/** struct genlmsghdr. */
const HEADER = 4;

const control = attrs({ id: [1, u16], name: [2, text] });

/** A message of a family with this number. */
export function message(
  label: string,
  { family, command, flags = 0 }: { family: number; command: number; flags?: number },
  write: (to: Writer) => void,
): Message {
  return {
    label,
    type: family,
    flags,
    write(to) {
      to.u8(command);
      to.u8(1); // version
      to.skip(2);
      write(to);
    },
  };
}

/** The attributes of an answer. */
export function attributesOf({ payload }: Pick<Answer, "payload">): Uint8Array {
  if (payload.length < HEADER) throw new RangeError(`Cannot read a message of ${payload.length} bytes`);
  return payload.subarray(HEADER);
}

/** The number of a family. ENOENT if the kernel lacks it. */
export function findFamily(connection: Connection, name: string): number {
  const ask = message(`find netlink family ${name}`, { family: GENL_ID_CTRL, command: CTRL_CMD_GETFAMILY }, (to) =>
    control.write(to, { name }),
  );
  const [reply] = connection.request(ask);
  return control.read(attributesOf(reply!.answers[0]!)).id!;
}
