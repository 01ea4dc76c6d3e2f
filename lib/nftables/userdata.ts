// User data: what the kernel keeps with each object for nft(8) and us, as records of u8 tag, u8 length, value.
// libnftnl/udata.h: NFTNL_UDATA_RULE_*, NFTNL_UDATA_SET_*, NFTNL_UDATA_SET_ELEM_*.
import { type Fields, type Type, text, u32, type Values } from "../netlink/attr.ts";

const longest = 128; // NFTNL_UDATA_COMMENT_MAXLEN, the NUL included

/** A table of records as a codec; unknown ones are skipped. */
function records<const F extends Fields>(fields: F): Type<Values<F>> {
  return {
    write(to, values) {
      for (const name in fields) {
        if (values[name] === undefined) continue;
        const [tag, type] = fields[name]!;
        to.u8(tag);
        const at = to.skip(1);
        type.write(to, values[name]);
        const length = to.length - at - 1;
        if (length > longest)
          throw new RangeError(`Cannot write ${name} "${values[name]}": ${length - 1} bytes is over ${longest - 1}`);
        to.view.setUint8(at, length);
      }
    },
    read(from) {
      const values: Record<string, unknown> = {};
      for (let at = 0; at + 2 <= from.length; at += 2 + from[at + 1]!) {
        for (const name in fields)
          if (fields[name]![0] === from[at])
            values[name] = fields[name]![1].read(from.subarray(at + 2, at + 2 + from[at + 1]!));
      }
      return values as Values<F>;
    },
  };
}

export const ruleUserdata = records({ comment: [0, text] });
export const elementUserdata = records({ comment: [0, text] });
/** `keyOrder` and `dataOrder` are how nft(8) reads keys and data to show them: 1 as this machine's numbers, 2 from the highest byte on. */
export const setUserdata = records({ keyOrder: [0, u32], dataOrder: [1, u32], comment: [7, text] });
