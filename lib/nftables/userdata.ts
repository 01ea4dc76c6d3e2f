// Comments: what the kernel keeps for user space with each object, in libnftnl's records of u8 tag, u8 length, value.
// libnftnl/udata.h: NFTNL_UDATA_RULE_COMMENT, NFTNL_UDATA_SET_ELEM_COMMENT, NFTNL_UDATA_SET_COMMENT.
import type { Type } from "../netlink/attr.ts";

const longest = 128; // NFTNL_UDATA_COMMENT_MAXLEN, the NUL included

function comment(tag: number): Type<string | undefined> {
  return {
    write(to, value) {
      const bytes = new TextEncoder().encode(value);
      if (bytes.length >= longest)
        throw new RangeError(`Cannot write comment "${value}": ${bytes.length} bytes is over ${longest - 1}`);
      to.u8(tag);
      to.u8(bytes.length + 1);
      to.put(bytes);
      to.u8(0);
    },
    read(from) {
      for (let at = 0; at + 2 <= from.length; at += 2 + from[at + 1]!) {
        if (from[at] !== tag) continue;
        const value = from.subarray(at + 2, at + 2 + from[at + 1]!);
        return new TextDecoder().decode(value.at(-1) === 0 ? value.subarray(0, -1) : value);
      }
      return undefined;
    },
  };
}

export const ruleComment: Type<string | undefined> = comment(0);
export const elementComment: Type<string | undefined> = comment(0);
export const setComment: Type<string | undefined> = comment(7);
