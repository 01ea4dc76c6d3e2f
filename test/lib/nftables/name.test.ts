import { expect, test } from "bun:test";
import { hash, pathOf } from "../../../lib/nftables/name.ts";

test("a hash has twelve digits and tells apart what differs in a character, in order and in length", () => {
  const texts = ["", "a", "b", "ab", "ba", "a".repeat(200), "a".repeat(201), `${"a".repeat(199)}b`];
  const hashes = texts.map(hash);
  for (const one of hashes) expect(one).toMatch(/^[0-9a-f]{12}$/);
  expect(new Set(hashes).size).toBe(texts.length);
});

test("the names of sets on nodes that are upgraded stay what they were", () => {
  expect(hash("10.0.0.0/8,192.168.0.0/16")).toBe("ead28c565f19");
});

test("a network's name is kept up to 64 characters", () => {
  expect(pathOf("x".repeat(64))).toBe("x".repeat(64));
  expect(pathOf("x".repeat(65))).toBe(`.${hash("x".repeat(65))}`);
});
