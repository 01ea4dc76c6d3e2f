// Rules: NFT_MSG_NEWRULE, NFT_MSG_GETRULE, NFT_MSG_DELRULE. linux/netfilter/nf_tables.h NFTA_RULE_*.
import { attrs, be64, list, text } from "../netlink/attr.ts";
import {
  type Answer,
  type Connection,
  type Message,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_REPLACE,
} from "../netlink/socket.ts";
import type { Chain } from "./chain.ts";
import { type Expression, expression, sameExpressions } from "./expression.ts";
import { answerFamily, attributesOf, message } from "./message.ts";
import type { Table } from "./table.ts";
import { ruleUserdata } from "./userdata.ts";

const NFT_MSG_NEWRULE = 6;
const NFT_MSG_GETRULE = 7;
const NFT_MSG_DELRULE = 8;
const NFTA_LIST_ELEM = 1;

const fields = attrs({
  table: [1, text],
  chain: [2, text],
  handle: [3, be64],
  expressions: [4, list(NFTA_LIST_ELEM, expression)],
  userdata: [7, ruleUserdata],
});

/** A rule of a chain. The kernel gives the handle, by which alone it can be replaced or removed. */
export interface Rule {
  chain: Chain;
  expressions: Expression[];
  comment?: string;
  handle?: bigint;
}

function change(verb: string, kind: number, flags: number, rule: Partial<Rule> & Pick<Rule, "chain">): Message {
  const { chain, expressions, comment, handle } = rule;
  const which = comment === undefined ? (handle ?? "") : `"${comment}"`;
  const label = `${verb} rule ${which} of chain ${chain.table.family} ${chain.table.name} ${chain.name}`;
  return message(label, kind, flags, chain.table.family, (to) =>
    fields.write(to, {
      table: chain.table.name,
      chain: chain.name,
      handle,
      expressions,
      userdata: comment === undefined ? undefined : { comment },
    }),
  );
}

/** Adds a rule at the chain's end. Twice adds it twice. */
export function appendRule(rule: Rule): Message {
  return change("add", NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, rule);
}

/** Adds a rule at the chain's beginning. */
export function insertRule(rule: Rule): Message {
  return change("insert", NFT_MSG_NEWRULE, NLM_F_CREATE, rule);
}

/** Puts a rule in the place of the one with its handle. */
export function replaceRule(rule: Rule & { handle: bigint }): Message {
  return change("replace", NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_REPLACE, rule);
}

/** Removes the rule with this handle. */
export function deleteRule({ chain, handle }: Pick<Rule, "chain"> & { handle: bigint }): Message {
  return change("delete", NFT_MSG_DELRULE, 0, { chain, handle });
}

/** Asks for the rules of a chain, without a name for those of the whole table. No such chain or table: none. */
export function dumpRules({ table, name }: { table: Table; name?: string }): Message {
  return message(`list rules of chain ${table.name} ${name ?? "*"}`, NFT_MSG_GETRULE, 0, table.family, (to) =>
    fields.write(to, { table: table.name, chain: name }),
  );
}

/** Reads an NFT_MSG_NEWRULE. */
export function readRule(answer: Answer): Rule & { handle: bigint } {
  const { table = "", chain = "", handle = 0n, expressions = [], userdata } = fields.read(attributesOf(answer));
  return {
    chain: { table: { family: answerFamily(answer) ?? "inet", name: table }, name: chain },
    handle,
    expressions,
    comment: userdata?.comment,
  };
}

/** The rules of a chain, without a name of a whole table; none if there is no such thing. */
export function listRules(
  connection: Connection,
  chain: { table: Table; name?: string },
): (Rule & { handle: bigint })[] {
  return connection.dump(dumpRules(chain)).map(readRule);
}

/** The changes that leave one rule with this comment among those there, where the first of them is, or at the end. */
export function placeRule(rule: Rule, there: readonly (Rule & { handle: bigint })[]): Message[] {
  const [first, ...more] = there.filter(({ comment }) => comment === rule.comment);
  const surplus = more.map(deleteRule);
  if (!first) return [appendRule(rule)];
  if (sameExpressions(rule.expressions, first.expressions)) return surplus;
  return [replaceRule({ ...rule, handle: first.handle }), ...surplus];
}
