import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import * as file from "../../../lib/sys/file.ts";
import { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } from "../../../lib/sys/file.ts";
import { errno, SystemError, system } from "../../../lib/sys/libc.ts";

let base: string;
let folder: string;
let count = 0;

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "tenon-file-"));
});

beforeEach(() => {
  folder = join(base, `${count++}`);
  fs.mkdirSync(folder);
});

afterAll(() => fs.rmSync(base, { recursive: true }));

const bytes = (text: string) => new TextEncoder().encode(text);
const at = (name: string) => join(folder, name);

/** The errno name of what `body` throws. */
function refusal(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(SystemError);
    return (error as SystemError).code;
  }
  return "none";
}

function opened<T>(path: string, flags: number, body: (fd: number) => T): T {
  const fd = file.open(path, flags, 0o600);
  try {
    return body(fd);
  } finally {
    file.close(fd);
  }
}

test("numbers of flags are the system's", () => {
  const { constants } = fs;
  expect({ ...file }).toMatchObject({
    ...{ O_RDONLY: constants.O_RDONLY, O_WRONLY: constants.O_WRONLY, O_RDWR: constants.O_RDWR },
    ...{ O_CREAT: constants.O_CREAT, O_EXCL: constants.O_EXCL, O_TRUNC: constants.O_TRUNC },
    ...{ O_NONBLOCK: constants.O_NONBLOCK, O_DIRECTORY: constants.O_DIRECTORY, O_NOFOLLOW: constants.O_NOFOLLOW },
  });
});

describe("open", () => {
  test("makes a file with the mode, once", () => {
    file.close(file.open(at("a"), O_CREAT | O_EXCL | O_WRONLY, 0o640));
    expect(statSync(at("a")).mode & 0o777).toBe(0o640);
    expect(refusal(() => file.open(at("a"), O_CREAT | O_EXCL | O_WRONLY))).toBe("EEXIST");
  });

  test("says what it could not open", () => {
    expect(() => file.open(at("none"), O_RDONLY)).toThrow(`Cannot open "${at("none")}": no such file or directory`);
    expect(refusal(() => file.open(folder, O_WRONLY))).toBe("EISDIR");
    expect(refusal(() => file.open(at("x".repeat(256)), O_RDONLY))).toBe("ENAMETOOLONG");
    fs.symlinkSync("a", at("link"));
    expect(refusal(() => file.open(at("link"), O_RDONLY | file.O_NOFOLLOW))).toBe("ELOOP");
  });

  test("refuses a path that C would cut short", () => {
    expect(() => file.open(`${at("a")}\0b`, O_CREAT)).toThrow(TypeError);
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  test("hands nothing on to programs", () => {
    opened(at("a"), O_CREAT | O_RDWR, (fd) => {
      const flags = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8").match(/^flags:\s+(\d+)/m)![1]!;
      expect(Number.parseInt(flags, 8) & 0o2000000).toBe(0o2000000);
    });
  });

  test("starts at a directory's descriptor if one is given", () => {
    writeFileSync(at("a"), "text");
    opened(folder, O_RDONLY | file.O_DIRECTORY, (directory) => {
      expect(file.readText("a", directory)).toBe("text");
      expect(file.readTextIfAny("b", directory)).toBeUndefined();
      expect(file.status("a", directory)!.size).toBe(4);
      file.rename("a", "c", directory);
      expect(file.remove("c", directory)).toBe(true);
    });
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  test("makes a nameless file where the file system can", () => {
    opened(folder, file.O_TMPFILE | O_RDWR, (fd) => {
      file.writeAll(fd, bytes("hidden"));
      expect(fs.readdirSync(folder)).toEqual([]);
      expect(file.status("", fd)).toMatchObject({ links: 0, size: 6 });
    });
  });
});

describe("reading and writing", () => {
  test.each([0, 1, 16383, 16384, 16385, 65535, 65536, 300_000])("%d bytes are read as they were written", (length) => {
    const content = new Uint8Array(length).map((_, at) => at * 31);
    opened(at("a"), O_CREAT | O_WRONLY, (fd) => file.writeAll(fd, content));
    expect(Buffer.compare(readFileSync(at("a")), content)).toBe(0);
    expect(
      Buffer.compare(
        opened(at("a"), O_RDONLY, (fd) => file.readAll(fd)),
        content,
      ),
    ).toBe(0);
  });

  test("a part of a buffer is written from where it begins", () => {
    opened(at("a"), O_CREAT | O_WRONLY, (fd) => {
      file.writeAll(fd, bytes("0123456789").subarray(3, 6));
      file.writeAt(fd, bytes("0123456789").subarray(7), 3);
    });
    expect(readFileSync(at("a"), "utf8")).toBe("345789");
  });

  test("more than the limit is EFBIG", () => {
    writeFileSync(at("a"), "x".repeat(20_000));
    expect(opened(at("a"), O_RDONLY, (fd) => file.readAll(fd, 20_000))).toHaveLength(20_000);
    expect(refusal(() => opened(at("a"), O_RDONLY, (fd) => file.readAll(fd, 19_999)))).toBe("EFBIG");
  });

  test("what comes in parts is read to its end", () => {
    Bun.spawnSync(["mkfifo", at("fifo")]);
    const writer = Bun.spawn(["sh", "-c", `(printf one; sleep 0.05; printf two) > ${at("fifo")}`]);
    expect(file.readText(at("fifo"))).toBe("onetwo");
    writer.kill();
  });

  test("a full device is ENOSPC, and says what was written to", () => {
    expect(() => file.writeText("/dev/full", "x")).toThrow('Cannot write "/dev/full": no space left on device');
    opened("/dev/full", O_WRONLY, (fd) => {
      expect(() => file.writeAll(fd, bytes("x"), "the result")).toThrow("Cannot write the result: no space left");
      expect(() => file.writeAt(fd, bytes("x"), 0)).toThrow(`Cannot write descriptor ${fd}: no space left on device`);
    });
  });

  test("a descriptor that is closed, or of the other kind, is EBADF", () => {
    expect(refusal(() => file.readAll(-1))).toBe("EBADF");
    expect(refusal(() => file.writeAll(-1, bytes("x")))).toBe("EBADF");
    expect(refusal(() => file.readAt(-1, new Uint8Array(1), 0))).toBe("EBADF");
    expect(refusal(() => file.truncate(-1, 0))).toBe("EBADF");
    expect(refusal(() => file.setTimes(-1, 0n))).toBe("EBADF");
    expect(refusal(() => opened(at("a"), O_CREAT | O_WRONLY, (fd) => file.readAll(fd)))).toBe("EBADF");
  });

  test("places beyond 4 GiB are reached", () => {
    opened(at("a"), O_CREAT | O_RDWR, (fd) => {
      const far = 2 ** 33 + 5;
      file.writeAt(fd, bytes("far"), far);
      const into = new Uint8Array(8);
      expect(file.readAt(fd, into, far - 1)).toBe(4);
      expect(into).toEqual(Uint8Array.from([0, 102, 97, 114, 0, 0, 0, 0]));
      expect(file.readAt(fd, into, far + 3)).toBe(0);
      expect(file.readAt(fd, new Uint8Array(0), 0)).toBe(0);
      expect(file.status(at("a"))!.size).toBe(far + 3);
      file.truncate(fd, 2 ** 32);
      expect(file.status(at("a"))!.size).toBe(2 ** 32);
      file.truncate(fd, 0);
    });
    expect(statSync(at("a")).size).toBe(0);
  });

  test("any writes at any places leave what they would leave in memory", () => {
    const write = fc.record({ offset: fc.nat(200), data: fc.uint8Array({ minLength: 1, maxLength: 60 }) });
    fc.assert(
      fc.property(fc.array(write, { maxLength: 8 }), (writes) => {
        const model = new Uint8Array(300);
        let length = 0;
        opened(at("p"), O_CREAT | O_TRUNC | O_RDWR, (fd) => {
          for (const { offset, data } of writes) {
            file.writeAt(fd, data, offset);
            model.set(data, offset);
            length = Math.max(length, offset + data.length);
          }
          const into = new Uint8Array(300);
          expect(file.readAt(fd, into, 0)).toBe(length);
          expect(into).toEqual(model);
        });
      }),
      { numRuns: 50 },
    );
  });

  test("times are set to the nanosecond", () => {
    opened(at("a"), O_CREAT | O_WRONLY, (fd) => file.setTimes(fd, 1_700_000_000_123_456_789n));
    expect(statSync(at("a"), { bigint: true }).mtimeNs).toBe(1_700_000_000_123_456_789n);
    expect(statSync(at("a"), { bigint: true }).atimeNs).toBe(1_700_000_000_123_456_789n);
  });
});

describe("texts", () => {
  test("are read, also those of /proc that have no size", () => {
    writeFileSync(at("a"), "grüße\n");
    expect(file.readText(at("a"))).toBe("grüße\n");
    expect(file.readText("/proc/self/status")).toMatch(/^Name:/);
  });

  test("that are not there are ENOENT, or undefined if any will do", () => {
    writeFileSync(at("a"), "");
    expect(refusal(() => file.readText(at("none")))).toBe("ENOENT");
    expect(file.readTextIfAny(at("none"))).toBeUndefined();
    expect(file.readTextIfAny(at("none/none"))).toBeUndefined();
    expect(file.readTextIfAny(at("a/none"))).toBeUndefined();
    expect(file.readTextIfAny(at("a"))).toBe("");
    expect(refusal(() => file.readTextIfAny(folder))).toBe("EISDIR");
  });

  test("are written to a file that exists, whose rest stays", () => {
    expect(refusal(() => file.writeText(at("a"), "x"))).toBe("ENOENT");
    writeFileSync(at("a"), "0123");
    file.writeText(at("a"), "ab");
    expect(readFileSync(at("a"), "utf8")).toBe("ab23");
  });

  test("leave no descriptor open when they fail", () => {
    const before = fs.readdirSync("/proc/self/fd").length;
    for (let i = 0; i < 20; i++) {
      refusal(() => file.readText(folder));
      refusal(() => file.writeText("/dev/full", "x"));
    }
    expect(fs.readdirSync("/proc/self/fd").length).toBeLessThan(before + 10);
  });
});

describe("directories", () => {
  test("are made with those above them, and may exist", () => {
    file.makeDirectory(at("a/b/c/"), 0o700);
    file.makeDirectory(at("a//b///c"));
    file.makeDirectory(at("a"));
    file.makeDirectory("/");
    expect(statSync(at("a/b/c")).mode & 0o777).toBe(0o700);
  });

  test("are not made below a file, or without a parent", () => {
    writeFileSync(at("f"), "");
    expect(() => file.makeDirectory(at("f/a/b"))).toThrow(`Cannot make directory "${at("f/a/b")}": not a directory`);
    expect(refusal(() => file.makeDirectory("/proc/none/a"))).toBe("ENOENT");
    expect(refusal(() => file.makeDirectory(""))).toBe("ENOENT");
  });

  test("are listed whole, in as many calls as it takes", () => {
    const names = Array.from({ length: 6000 }, (_, i) => `name-${i}-${"x".repeat(i % 40)}`);
    writeFileSync(join(base, "one"), "");
    for (const name of names) fs.linkSync(join(base, "one"), at(name)); // quicker than as many files
    const listed = opened(folder, O_RDONLY | file.O_DIRECTORY, (fd) => file.list(fd));
    expect(listed.sort()).toEqual(names.sort());
  });

  test("that are empty hold no name, and names may be any text", () => {
    expect(opened(folder, O_RDONLY, file.list)).toEqual([]);
    const names = ["...", " ", "\n", "größe", "日本", "a".repeat(255), "🦀"];
    for (const name of names) writeFileSync(at(name), "");
    expect(opened(folder, O_RDONLY, file.list).sort()).toEqual(names.sort());
  });

  test("alone can be listed", () => {
    writeFileSync(at("f"), "");
    expect(refusal(() => opened(at("f"), O_RDONLY, file.list))).toBe("ENOTDIR");
    expect(refusal(() => file.list(-1))).toBe("EBADF");
  });
});

describe("names", () => {
  test("are removed once", () => {
    writeFileSync(at("a"), "");
    expect(file.remove(at("a"))).toBe(true);
    expect(file.remove(at("a"))).toBe(false);
    expect(() => file.remove(folder)).toThrow(`Cannot remove "${folder}": is a directory`);
  });

  test("are replaced whole, by way of a draft", () => {
    file.replaceFile(at("a"), "one");
    file.replaceFile(at("a"), "2", { mode: 0o600, draft: at(".a") });
    expect(readFileSync(at("a"), "utf8")).toBe("2");
    expect(statSync(at("a")).mode & 0o777).toBe(0o600);
    expect(fs.readdirSync(folder)).toEqual(["a"]);
    expect(refusal(() => file.replaceFile(at("none/a"), "3"))).toBe("ENOENT");
  });

  test("are renamed over others", () => {
    writeFileSync(at("a"), "new");
    writeFileSync(at("b"), "old");
    file.rename(at("a"), at("b"));
    expect(readFileSync(at("b"), "utf8")).toBe("new");
    expect(() => file.rename(at("a"), at("b"))).toThrow(
      `Cannot rename "${at("a")}" to "${at("b")}": no such file or directory`,
    );
  });
});

describe("status", () => {
  test.each([
    ["a file", () => at("f")],
    ["a directory", () => folder],
    ["a link's target", () => at("link")],
    ["a device", () => "/dev/null"],
  ])("of %s is what stat(1) says", (_, path) => {
    writeFileSync(at("f"), "12345");
    fs.utimesSync(at("f"), 1, 2.5);
    fs.linkSync(at("f"), at("hard"));
    fs.symlinkSync("f", at("link"));
    const { stdout } = Bun.spawnSync(["stat", "-L", "-c", "%f %i %s %h %d %.9Y %.9Z", path()]);
    const [mode, inode, size, links, , mtime, ctime] = stdout.toString().trim().split(" ");
    const nanoseconds = (text: string) => BigInt(text.replace(".", ""));
    const { device, ...status } = file.status(path())!;
    expect(status).toEqual({
      mode: Number.parseInt(mode!, 16),
      inode: BigInt(inode!),
      size: Number(size),
      links: Number(links),
      mtime: nanoseconds(mtime!),
      ctime: nanoseconds(ctime!),
    });
    expect(device === file.status(at("f"))!.device).toBe(path().startsWith(base));
  });

  test("of nothing is undefined; what cannot be looked at is an error", () => {
    writeFileSync(at("f"), "");
    fs.symlinkSync("none", at("dangling"));
    fs.symlinkSync("loop", at("loop"));
    for (const name of ["none", "none/none", "f/none", "dangling"]) expect(file.status(at(name))).toBeUndefined();
    expect(() => file.status(at("loop"))).toThrow(`Cannot look at "${at("loop")}": too many levels of symbolic links`);
  });

  test("tells directories and regular files from the rest", () => {
    writeFileSync(at("f"), "");
    const kinds = [folder, at("f"), "/dev/null"].map((path) => file.status(path)!);
    expect(kinds.map(file.isDirectory)).toEqual([true, false, false]);
    expect(kinds.map(file.isRegularFile)).toEqual([false, true, false]);
  });
});

describe("a lock", () => {
  const free = () => Bun.spawnSync(["flock", "--nonblock", at("lock"), "true"]).exitCode === 0;

  test("keeps others out while the body runs, however it ends", () => {
    opened(at("lock"), O_CREAT | O_RDWR, (fd) => {
      expect(file.withLock(fd, free)).toBe(false);
      expect(free()).toBe(true);
      const body = () => {
        throw new Error("in the middle");
      };
      expect(() => file.withLock(fd, body)).toThrow("in the middle");
      expect(free()).toBe(true);
      expect(file.withLock(fd, () => 7)).toBe(7);
    });
  });

  test("is waited for", async () => {
    const holder = Bun.spawn(["flock", at("lock"), "sh", "-c", "echo held; sleep 0.1"], { stdout: "pipe" });
    await holder.stdout.getReader().read();
    const started = performance.now();
    opened(at("lock"), O_CREAT | O_RDWR, (fd) => file.withLock(fd, () => {}));
    expect(performance.now() - started).toBeGreaterThan(50);
    await holder.exited;
  });

  test("ends with the process that holds it", async () => {
    const script = 'exec 9> "$0"; flock 9; echo held; exec sleep 5';
    const holder = Bun.spawn(["sh", "-c", script, at("lock")], { stdout: "pipe" });
    await holder.stdout.getReader().read();
    expect(free()).toBe(false);
    holder.kill("SIGKILL");
    await holder.exited;
    opened(at("lock"), O_CREAT | O_RDWR, (fd) => expect(file.withLock(fd, () => "mine")).toBe("mine"));
  });

  test("of a closed descriptor is refused", () => {
    expect(refusal(() => file.withLock(-1, () => {}))).toBe("EBADF");
  });
});

test("a call that fails leaves the errno of its own", () => {
  expect(system("close", -1)).toBe(-1);
  expect(errno()).toBe(9);
});

test("two paths lead to one file, or they do not", () => {
  writeFileSync(at("a"), "");
  writeFileSync(at("b"), "");
  fs.linkSync(at("a"), at("hard"));
  fs.symlinkSync("a", at("soft"));
  fs.symlinkSync("loop", at("loop"));
  for (const name of ["a", "hard", "soft"]) expect(file.isSameFile(at("a"), at(name))).toBe(true);
  for (const name of ["b", "none", "a/none"]) {
    expect([file.isSameFile(at("a"), at(name)), file.isSameFile(at(name), at("a"))]).toEqual([false, false]);
  }
  expect(file.isSameFile("/proc/self/ns/net", "/proc/self/ns/mnt")).toBe(false);
  expect(refusal(() => file.isSameFile(at("loop"), at("a")))).toBe("ELOOP");
});
