// Expressions: the steps of a rule, each by name with its own attributes. linux/netfilter/nf_tables.h NFTA_EXPR_*.
import { bytes, eachAttr, type Type, text, type Values, writeAttr } from "../netlink/attr.ts";
import { equalBytes } from "../netlink/inet.ts";
import { bitwise } from "./expr/bitwise.ts";
import { cmp } from "./expr/cmp.ts";
import { counter } from "./expr/counter.ts";
import { ct } from "./expr/ct.ts";
import { fib } from "./expr/fib.ts";
import { immediate } from "./expr/immediate.ts";
import { lookup } from "./expr/lookup.ts";
import { masq } from "./expr/masq.ts";
import { meta } from "./expr/meta.ts";
import { nat } from "./expr/nat.ts";
import { payload } from "./expr/payload.ts";

/** Every expression that rules are made of here: one file each in expr/. */
export const expressions = { bitwise, cmp, counter, ct, fib, immediate, lookup, masq, meta, nat, payload };

type Known = { [N in keyof typeof expressions]: { name: N } & Values<(typeof expressions)[N]["fields"]> };

/** One step of a rule. What somebody else's rule holds beyond our own kinds is kept as bytes. */
export type Expression = Known[keyof Known] | { name: string; unknown: Uint8Array };

export const expression: Type<Expression> = {
  nested: true,
  write(to, { name, ...values }) {
    writeAttr(to, 1, text, name);
    if ("unknown" in values) writeAttr(to, 2, { ...bytes, nested: true }, values.unknown);
    else writeAttr(to, 2, expressions[name as keyof Known] as Type<object>, values);
  },
  read(from) {
    let name = "";
    let data = new Uint8Array(0);
    eachAttr(from, (type, payload) => {
      if (type === 1) name = text.read(payload);
      else if (type === 2) data = payload.slice();
    });
    const known = Object.hasOwn(expressions, name) ? expressions[name as keyof Known] : undefined;
    return known ? ({ name, ...known.read(data) } as Expression) : { name, unknown: data };
  },
};

/** Whether `have`, as the kernel tells it, says all that `wanted` says; the kernel fills in what was left out. */
export function sameExpressions(wanted: readonly Expression[], have: readonly Expression[]): boolean {
  return wanted.length === have.length && wanted.every((expression, at) => covers(expression, have[at]));
}

function covers(wanted: unknown, have: unknown): boolean {
  if (wanted instanceof Uint8Array) return have instanceof Uint8Array && equalBytes(wanted, have);
  if (typeof wanted !== "object" || wanted === null) return wanted === have;
  if (typeof have !== "object" || have === null) return false;
  return Object.entries(wanted).every(
    ([key, value]) => value === undefined || covers(value, (have as Record<string, unknown>)[key]),
  );
}
