import { expect, test } from "bun:test";
import { makeLog } from "../../../cli/agent/log.ts";

test("trouble is said when it begins, changes and ends, not in between", () => {
  const lines: string[] = [];
  const log = makeLog((line) => lines.push(line));
  log.trouble("etcd", undefined);
  log.trouble("etcd", "gone");
  log.trouble("etcd", "gone");
  log.trouble("etcd", "late\nand slow");
  log.trouble("etcd", undefined);
  log.say("end");
  expect(lines).toEqual(["etcd: gone\n", "etcd: late and slow\n", "etcd: well again\n", "end\n"]);
});
