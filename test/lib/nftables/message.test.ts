import { expect, test } from "bun:test";
import {
  answerFamily,
  attributesOf,
  beginBatch,
  endBatch,
  getGeneration,
  message,
  readGeneration,
} from "../../../lib/nftables/message.ts";
import { bodyOf, hex, messageOf, rows } from "../../helpers/bytes.ts";

test("a message has subsystem and kind in its type, and the family before its attributes", () => {
  const bytes = messageOf(message("add nothing", 3, 0x400, "bridge", (to) => to.u32(0xdeadbeef)));
  expect(rows(bytes)).toEqual(
    rows(
      hex(`
        18 00 00 00  length 24
        03 0a 01 04  NFT_MSG_NEWCHAIN, NFNL_SUBSYS_NFTABLES, NLM_F_REQUEST, NLM_F_CREATE
        07 00 00 00  sequence
        00 00 00 00  port
        07 00 00 00  NFPROTO_BRIDGE, version 0, resource 0
        ef be ad de
      `),
    ),
  );
});

test("a batch begins with the subsystem as its resource, and the generation if there is one", () => {
  expect(rows(messageOf(beginBatch(0x01020304)))).toEqual(
    rows(
      hex(`
        1c 00 00 00
        10 00 01 00  NFNL_MSG_BATCH_BEGIN
        07 00 00 00
        00 00 00 00
        00 00 00 0a  AF_UNSPEC, version 0, NFNL_SUBSYS_NFTABLES in network order
        08 00 01 00  NFNL_BATCH_GENID
        01 02 03 04
      `),
    ),
  );
  expect(rows(bodyOf(beginBatch()))).toEqual(["00 00 00 0a"]);
});

test("a batch ends with the subsystem as its resource", () => {
  expect(endBatch().type).toBe(17);
  expect(rows(bodyOf(endBatch()))).toEqual(["00 00 00 0a"]);
});

test("the generation is asked for and read", () => {
  expect(getGeneration().type).toBe(0x0a10);
  const payload = hex(`
    00 00 00 0a
    08 00 01 00  NFTA_GEN_ID
    00 00 00 2a
    08 00 02 00  NFTA_GEN_PROC_PID
    00 00 00 63
  `);
  expect(readGeneration({ payload })).toBe(42);
});

test("an answer tells its family, and its attributes come after that", () => {
  const payload = hex("01 00 00 00 04 00 01 00");
  expect(answerFamily({ payload })).toBe("inet");
  expect(rows(attributesOf({ payload }))).toEqual(["04 00 01 00"]);
  expect(answerFamily({ payload: hex("63 00 00 00") })).toBeUndefined();
});

test("an answer shorter than its header is a RangeError", () => {
  expect(() => attributesOf({ payload: hex("01 00") })).toThrow(RangeError);
});
