import { afterAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { BLOCK, Index } from "../../../lib/ipam/cache.ts";

const folder = mkdtempSync(join(tmpdir(), "cache-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs `body` with an open file of its own. */
function withFile<T>(body: (fd: number, path: string) => T): T {
  const path = join(folder, "index");
  const fd = openSync(path, "w+");
  try {
    return body(fd, path);
  } finally {
    closeSync(fd);
  }
}

/** Which addresses of a block are taken. */
function taken(index: Index, block: bigint): number[] {
  const bytes = index.block(block);
  const list: number[] = [];
  for (let at = 0; bytes && at < BLOCK; at++) if (bytes[at >> 3]! & (1 << (at & 7))) list.push(at);
  return list;
}

type Step = { owner: number; address: number };
const steps = fc.array(fc.record({ owner: fc.nat(9), address: fc.nat(200) }), { maxLength: 120 });
// Three places far from each other: IPv4, and IPv6 either side of 2^64.
const place = (address: number): bigint =>
  [0xffff_0a01_0000n, 1n << 64n, (1n << 64n) - 100n][address % 3]! + BigInt(address);

/** Adds what is not there and removes what is, in the index and in a plain map. */
function play(index: Index, model: Map<bigint, string>, list: readonly Step[]): void {
  for (const { owner, address } of list) {
    const held = model.get(place(address));
    if (held === undefined) {
      model.set(place(address), `owner${owner}`);
      index.add(place(address), `owner${owner}`);
    } else {
      model.delete(place(address));
      index.remove(place(address), held);
    }
  }
}

function agrees(index: Index, model: Map<bigint, string>): void {
  expect(index.count).toBe(model.size);
  for (let owner = 0; owner < 10; owner++) {
    const held = [...model].filter(([, name]) => name === `owner${owner}`).map(([address]) => address);
    expect(index.candidates(`owner${owner}`).sort()).toEqual(held.sort());
  }
  for (const block of [0xffff_0a01n, 1n << 48n, (1n << 48n) - 1n]) {
    const inBlock = [...model.keys()]
      .filter((address) => address >> 16n === block)
      .map((address) => Number(address & 0xffffn));
    expect(taken(index, block)).toEqual(inBlock.sort((a, b) => a - b));
  }
}

describe("an index", () => {
  test("knows owners and addresses as a map does, in memory and out of its file", () => {
    fc.assert(
      fc.property(steps, steps, (before, after) =>
        withFile((fd) => {
          const model = new Map<bigint, string>();
          const index = Index.empty(0);
          play(index, model, before);
          agrees(index, model);
          index.save(fd, 5n);
          const again = Index.open(fd, 5n)!;
          agrees(again, model);
          play(again, model, after);
          again.save(fd, 6n);
          agrees(Index.open(fd, 6n)!, model);
          expect(Index.open(fd, 5n)).toBeUndefined();
        }),
      ),
    );
  });

  test("in a file counts for nothing before its time is noted", () =>
    withFile((fd) => {
      const index = Index.empty(0);
      index.add(7n, "a");
      index.save(fd, 1n);
      const again = Index.open(fd, 1n)!;
      again.add(8n, "b"); // and here the process dies: the directory's time has changed, the header has not
      expect(Index.open(fd, 2n)).toBeUndefined();
    }));

  test("an address without an owner is taken and nobody's", () => {
    const index = Index.empty(0);
    index.add(7n);
    index.add(7n);
    expect(index.count).toBe(1);
    expect(taken(index, 0n)).toEqual([7]);
    expect(index.candidates("")).toEqual([]);
  });

  test("holds 6,000 reservations and the same again in changes, then asks to be made anew", () =>
    withFile((fd) => {
      const index = Index.empty(6_000);
      for (let i = 0; i < 6_000; i++) index.add(BigInt(i), `container${i}`);
      index.save(fd, 1n);
      const again = Index.open(fd, 1n)!;
      let changes = 0;
      for (; !again.isWorn; changes++) {
        again.remove(BigInt(changes % 6_000), changes < 6_000 ? `container${changes}` : `other${changes - 6_000}`);
        again.add(BigInt(changes % 6_000), `other${changes}`);
      }
      expect(changes).toBeGreaterThan(6_000);
      expect(again.count).toBe(6_000);
      expect(again.candidates(`other${changes - 1}`)).toEqual([BigInt((changes - 1) % 6_000)]);
    }));

  test("a file that cannot be written makes it worn, not the caller fail", () => {
    const path = join(folder, "read-only");
    const writer = openSync(path, "w+");
    const index = Index.empty(0);
    index.add(7n, "a");
    index.save(writer, 1n);
    closeSync(writer);
    const reader = openSync(path, "r");
    const again = Index.open(reader, 1n)!;
    again.add(8n, "b");
    expect(again.isWorn).toBe(true);
    closeSync(reader);
  });

  test("a cut or garbled file is either refused or read without a crash", () =>
    withFile((fd, path) => {
      const index = Index.empty(0);
      for (let i = 0; i < 300; i++) index.add(BigInt(i), `container${i}`);
      index.save(fd, 1n);
      const good = readFileSync(path);
      fc.assert(
        fc.property(
          fc.nat(good.length),
          fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 40 }),
          (length, changes) => {
            const bad = Buffer.from(good);
            for (const [at, byte] of changes) bad[at] = byte;
            writeFileSync(path, bad.subarray(0, length));
            const read = Index.open(fd, 1n);
            if (length < 64) expect(read).toBeUndefined();
            if (!read) return;
            read.block(0n);
            read.remove(5n, "container5");
            expect(read.candidates("container7").length).toBeLessThanOrEqual(300);
          },
        ),
      );
    }));
});
