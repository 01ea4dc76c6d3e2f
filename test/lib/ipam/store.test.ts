import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DRAFT } from "../../../lib/ipam/draft.ts";
import { toNumber, toText } from "../../../lib/ipam/ranges.ts";
import { ownerText, readOwner, type Store, withStore, withStoreIfAny } from "../../../lib/ipam/store.ts";
import { parseIp } from "../../../lib/netlink/inet.ts";

const folder = mkdtempSync(join(tmpdir(), "store-"));
afterAll(() => rmSync(folder, { recursive: true }));

let directory: string;
let cache: string;
let count = 0;
beforeEach(() => {
  directory = join(folder, `${++count}`, "net");
  cache = join(folder, `${count}`, "cache");
});

const number = (text: string) => toNumber(parseIp(text)!);
const a = number("10.1.2.3");
const b = number("10.1.2.4");
const path = (name: string) => join(directory, name);
const inStore = <T>(body: (store: Store) => T): T => withStore({ directory, cache }, body);
const held = (owner: string) => inStore((store) => store.held(owner).map(toText));
const reserve = (address: bigint, owner: string) => inStore((store) => store.reserve(address, owner));
const isRemembered = () => inStore((store) => !store.isFresh);

describe("a reservation", () => {
  test("is a file named by the address that holds the owner", () => {
    expect(reserve(a, ownerText("c1", "eth0"))).toBe(true);
    expect(readdirSync(directory).sort()).toEqual(["10.1.2.3", "lock"]);
    expect(readFileSync(path("10.1.2.3"), "utf8")).toBe("c1\r\neth0");
    expect(statSync(path("10.1.2.3")).mode & 0o7777).toBe(0o600);
    expect(statSync(path("lock")).mode & 0o7777).toBe(0o750);
    expect(reserve(number("2001:db8:0::0:1"), "c1")).toBe(true);
    expect(readdirSync(directory)).toContain("2001:db8::1");
  });

  test("goes to one owner", () => {
    expect(reserve(a, "c1")).toBe(true);
    expect(reserve(a, "c2")).toBe(false);
    expect(reserve(a, "c1")).toBe(false);
    expect(held("c1")).toEqual(["10.1.2.3"]);
    expect(held("c2")).toEqual([]);
  });

  test("can be one of several of an owner, and be given back alone", () => {
    inStore((store) => {
      expect(store.reserve(a, "c1")).toBe(true);
      expect(store.reserve(b, "c1")).toBe(true);
      store.release(a, "c1");
      expect(store.held("c1")).toEqual([b]);
    });
    expect(held("c1")).toEqual(["10.1.2.4"]);
    inStore((store) => {
      store.release(b, "c1");
      expect(store.index.count).toBe(0);
    });
    expect(readdirSync(directory)).toEqual(["lock"]);
    expect(readdirSync(cache)).toEqual([]);
  });

  test("is recognised with white space around, and by the container alone", () => {
    mkdirSync(directory, { recursive: true });
    writeFileSync(path("10.1.2.3"), " c1\r\neth0 \n");
    writeFileSync(path("10.1.2.4"), "c1\n");
    expect(held(ownerText("c1", "eth0"))).toEqual(["10.1.2.3"]);
    expect(held("c1")).toEqual(["10.1.2.4"]);
  });

  test("readOwner tells reservations from rubbish", () => {
    expect(readOwner("c1\r\neth0")).toEqual({ containerId: "c1", ifname: "eth0" });
    expect(readOwner("c1")).toEqual({ containerId: "c1", ifname: undefined });
    for (const rubbish of ["", "\0\0\0", "c1\r\n", "c1\neth0", "-c1", "a b", "c1\r\neth0\r\n"]) {
      expect(readOwner(rubbish)).toBeUndefined();
    }
  });
});

describe("the address given out last", () => {
  const set = (address: bigint) =>
    inStore((store) => {
      store.last(0);
      store.setLast(0, address);
    });

  test("is the exact text, also after a longer one", () => {
    for (const text of ["10.1.2.100", "10.1.2.3", "2001:db8::1", "::1", "10.1.2.30"]) {
      set(number(text));
      expect(readFileSync(path("last_reserved_ip.0"), "utf8")).toBe(text);
      expect(inStore((store) => store.last(0))).toBe(number(text));
    }
    inStore((store) => store.setLast(0, a)); // without having looked
    expect(readFileSync(path("last_reserved_ip.0"), "utf8")).toBe("10.1.2.3");
    expect(statSync(path("last_reserved_ip.0")).mode & 0o7777).toBe(0o600);
  });

  test("is none where the file says nothing of sense", () => {
    expect(inStore((store) => store.last(0))).toBeUndefined();
    for (const text of ["", "10.1.2.3\n", "10.1.2.3.4", "\0\0\0", "x".repeat(70_000)]) {
      writeFileSync(path("last_reserved_ip.0"), text);
      expect(inStore((store) => store.last(0))).toBeUndefined();
      set(a);
      expect(readFileSync(path("last_reserved_ip.0"), "utf8")).toBe("10.1.2.3");
    }
  });
});

describe("what is remembered", () => {
  test("is used as long as nobody else changes anything", () => {
    reserve(a, "c1");
    expect(isRemembered()).toBe(true);
    reserve(b, "c2");
    expect(isRemembered()).toBe(true);
    inStore((store) => store.release(a, "c1"));
    expect(isRemembered()).toBe(true);
    expect(held("c2")).toEqual(["10.1.2.4"]);
  });

  test("never hides a change of somebody else's, however soon it comes", () => {
    for (let i = 0; i < 300; i++) {
      reserve(a, "c1");
      writeFileSync(path("10.1.2.4"), "c2");
      expect(held("c2")).toEqual(["10.1.2.4"]);
      reserve(number("10.1.2.9"), "c3");
      rmSync(path("10.1.2.9"));
      rmSync(path("10.1.2.4"));
      expect(held("c3")).toEqual([]);
      inStore((store) => {
        expect(store.index.count).toBe(1);
        store.release(a, "c1");
      });
    }
  });

  test("counts for nothing after a change that was not noted: a crash in between", () => {
    reserve(a, "c1");
    reserve(b, "c2");
    const kept = readFileSync(join(cache, readdirSync(cache)[0]!));
    inStore((store) => store.release(b, "c2"));
    writeFileSync(join(cache, readdirSync(cache)[0]!), kept);
    expect(held("c2")).toEqual([]);
    expect(held("c1")).toEqual(["10.1.2.3"]);
  });

  test("is made anew when a file is gone that it knows of", () => {
    reserve(a, "c1");
    reserve(b, "c2");
    const before = statSync(directory, { bigint: true }).mtimeNs;
    rmSync(path("10.1.2.3"));
    Bun.spawnSync([
      "touch",
      "-d",
      `@${before / 1_000_000_000n}.${`${before % 1_000_000_000n}`.padStart(9, "0")}`,
      directory,
    ]);
    expect(statSync(directory, { bigint: true }).mtimeNs).toBe(before);
    expect(held("c1")).toEqual([]);
    expect(held("c2")).toEqual(["10.1.2.4"]);
  });

  test("is not needed: no folder, no permission, no sense", () => {
    for (const place of ["", "/proc/none", "/dev/null/none"]) {
      withStore({ directory, cache: place }, (store) => expect(store.reserve(a, "c1")).toBe(true));
      withStore({ directory, cache: place }, (store) => {
        expect(store.isFresh).toBe(true);
        expect(store.held("c1")).toEqual([a]);
        store.release(a, "c1");
      });
    }
    mkdirSync(cache, { recursive: true });
    reserve(a, "c1");
    const file = join(cache, readdirSync(cache)[0]!);
    for (const rubbish of ["", "x", "\0".repeat(100_000)]) {
      writeFileSync(file, rubbish);
      expect(held("c1")).toEqual(["10.1.2.3"]);
    }
    rmSync(file);
    mkdirSync(file);
    expect(held("c1")).toEqual(["10.1.2.3"]);
    expect(reserve(b, "c1")).toBe(true);
    rmSync(file, { recursive: true });
    expect(held("c1")).toEqual(["10.1.2.3", "10.1.2.4"]);
  });

  test("is one file in a folder for root alone, and none where nothing is reserved", () => {
    reserve(a, "c1");
    expect(statSync(cache).mode & 0o7777).toBe(0o700);
    expect(statSync(join(cache, readdirSync(cache)[0]!)).mode & 0o7777).toBe(0o600);
    inStore((store) => store.release(a, "c1"));
    expect(readdirSync(cache)).toEqual([]);
  });

  test("is of the directory, by whatever path it is reached", () => {
    reserve(a, "c1");
    symlinkSync(directory, join(folder, `${count}`, "other"));
    const other = { directory: join(folder, `${count}`, "other"), cache };
    withStore(other, (store) => {
      expect(store.isFresh).toBe(false);
      expect(store.held("c1")).toEqual([a]);
    });
  });
});

describe("reading all reservations", () => {
  test("passes over what is none, and takes what bears an address's name for taken", () => {
    reserve(a, "c1");
    mkdirSync(path("10.1.2.4"));
    writeFileSync(path("10.1.2.5"), "");
    symlinkSync("10.1.2.3", path("10.1.2.6"));
    Bun.spawnSync(["mkfifo", path("10.1.2.7")]);
    for (const other of ["last_reserved_ip.0", "10.1.2.08", "10.1.2", "2001:DB8::1", "10.1.2.9~", "c1"]) {
      writeFileSync(path(other), "c1");
    }
    inStore((store) => {
      expect(store.isFresh).toBe(true);
      expect(store.index.count).toBe(5);
      expect(store.held("c1")).toEqual([a]);
      for (const taken of ["10.1.2.4", "10.1.2.5", "10.1.2.6", "10.1.2.7"]) {
        expect(store.reserve(number(taken), "c2")).toBe(false);
      }
    });
  });

  test("takes away what a crash left half made, and what is said to be dead", () => {
    reserve(a, "c1");
    reserve(b, "c2");
    writeFileSync(path(DRAFT), "half");
    mkdirSync(path("10.1.2.5"));
    inStore((store) => {
      const seen: string[] = [];
      const errors = store.rebuild((entry) => {
        seen.push(`${entry.name} ${entry.content}`);
        return entry.content !== "c2";
      });
      expect(seen.sort()).toEqual(["10.1.2.3 c1", "10.1.2.4 c2", "10.1.2.5 undefined"]);
      expect(errors).toHaveLength(1);
      expect(`${errors[0]}`).toContain("10.1.2.5");
      expect(store.index.count).toBe(2);
    });
    expect(readdirSync(directory).sort()).toEqual(["10.1.2.4", "10.1.2.5", "lock"]);
    expect(held("c1")).toEqual([]);
  });

  test("tells when one was made", () => {
    reserve(a, "c1");
    utimesSync(path("10.1.2.3"), 1000, 1000);
    inStore((store) => {
      expect(store.madeAt({ name: "10.1.2.3", address: a, content: "c1" })).toBe(1_000_000_000_000n);
    });
  });
});

describe("a place", () => {
  test("is made by withStore, with its parents, and not by withStoreIfAny", () => {
    expect(withStoreIfAny({ directory, cache }, () => 1)).toBeUndefined();
    expect(existsSync(directory)).toBe(false);
    expect(withStore({ directory, cache }, () => 1)).toBe(1);
    expect(statSync(directory).mode & 0o7777).toBe(0o755);
    expect(withStoreIfAny({ directory, cache }, () => 2)).toBe(2);
    expect(withStoreIfAny({ directory: path("lock/x"), cache }, () => 3)).toBeUndefined();
  });

  test("that is no directory is an error, as is one that cannot be made", () => {
    mkdirSync(join(folder, `${count}`), { recursive: true });
    writeFileSync(directory, "");
    chmodSync(directory, 0o600);
    expect(() => withStore({ directory, cache }, () => 1)).toThrow(directory);
    expect(() => withStore({ directory: "/proc/none/net", cache }, () => 1)).toThrow("/proc/none");
  });

  test("is locked while it is used, and after an error no more", () => {
    const lock = (at = path("lock")) => Bun.spawnSync(["flock", "--nonblock", at, "true"]).exitCode;
    inStore(() => expect(lock()).toBe(1));
    expect(lock()).toBe(0);
    inStore(() => {
      rmSync(path("lock"));
      expect(lock(directory)).toBe(1);
    });
    expect(lock(directory)).toBe(0);
    expect(() =>
      inStore(() => {
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(lock()).toBe(0);
  });
});
