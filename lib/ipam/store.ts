// Reservations on disk, as the reference's host-local keeps them: either implementation goes on with the other's.
// In <dataDir>/<network>: `lock` (flock while anything changes), one file for each address, named by its text and
// holding "<container>\r\n<ifname>" (long ago the container alone), and last_reserved_ip.<set> with the last one given
// out. The files are the truth and the kernel's link(2) decides who gets an address; lib/ipam/cache.ts remembers.
import { formatIp, parseIp } from "../netlink/inet.ts";
import {
  close,
  list,
  makeDirectory,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  open,
  readTextIfAny,
  remove,
  setTimes,
  status,
  truncate,
  withLock,
  writeAt,
} from "../sys/file.ts";
import { clock, errno, isErrno, SystemError, system } from "../sys/libc.ts";
import { Index } from "./cache.ts";
import { DRAFT, Draft } from "./draft.ts";
import { toNumber, toText } from "./ranges.ts";

/** Where a network's reservations are, and in which folder what is known of them may be kept ("" for nowhere). */
export interface Place {
  directory: string;
  cache: string;
}

/** One reservation as it was found. `content` is undefined for what is no file that can be read. */
export interface Entry {
  name: string;
  address: bigint;
  content: string | undefined;
}

/** The content of an attachment's reservation. */
export function ownerText(containerId: string, ifname: string): string {
  return `${containerId}\r\n${ifname}`;
}

/** The container and interface of a reservation, the interface undefined in the old form; undefined for rubbish. */
export function readOwner(content: string): { containerId: string; ifname?: string } | undefined {
  const [, containerId, ifname] = /^([a-zA-Z0-9][a-zA-Z0-9_.-]*)(?:\r\n([^/:\s\0]+))?$/.exec(content) ?? [];
  return containerId === undefined ? undefined : { containerId, ifname };
}

/** Runs `body` with the reservations of a place, alone: the lock is held. The directory is made if there is none. */
export function withStore<T>(place: Place, body: (store: Store) => T): T {
  const done = withStoreIfAny(place, (store) => ({ result: body(store) }));
  if (done) return done.result;
  makeDirectory(place.directory);
  return withDirectory(open(place.directory, O_RDONLY | O_DIRECTORY), place, body);
}

/** The same, but does nothing where there is no directory. */
export function withStoreIfAny<T>(place: Place, body: (store: Store) => T): T | undefined {
  let directory: number;
  try {
    directory = open(place.directory, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
  return withDirectory(directory, place, body);
}

function withDirectory<T>(directory: number, { cache }: Place, body: (store: Store) => T): T {
  try {
    const lock = open("lock", O_RDWR | O_CREAT, 0o750, directory); // NFS locks only what is open for writing
    try {
      return withLock(lock, () => {
        // The directory too, where that can be: people clear the whole folder when addresses run out, while others wait
        // for its lock. Closing it unlocks it.
        while (system("flock", directory, 2) < 0 && errno() === 4);
        const store = new Store(directory, cache);
        try {
          return body(store);
        } finally {
          store.close();
        }
      });
    } finally {
      close(lock);
    }
  } finally {
    close(directory);
  }
}

export class Store {
  readonly #directory: number;
  readonly #cacheFolder: string;
  /** The file of what is known, by the directory's identity: whatever path leads there. */
  readonly #path: string;
  /** When the directory was changed before we came. */
  readonly #time: bigint;
  #cache = -1;
  #index: Index | undefined;
  #changed = false;
  #draft: { owner: string; file: Draft } | undefined;
  #pointerLength: number[] = [];

  constructor(directory: number, cacheFolder: string) {
    this.#directory = directory;
    this.#cacheFolder = cacheFolder;
    const { device, inode, mtime } = status("", directory)!;
    this.#path = `${cacheFolder}/${device.toString(16)}-${inode.toString(16)}`;
    this.#time = mtime;
  }

  /** All reservations: remembered, or else read. */
  get index(): Index {
    this.#index ??= this.#remembered();
    if (!this.#index) this.rebuild();
    return this.#index!;
  }

  /** Whether the index was read from the files just now. */
  get isFresh(): boolean {
    return this.index.isNew;
  }

  /** The addresses that `owner` holds, looked up in the files. */
  held(owner: string): bigint[] {
    const held: bigint[] = [];
    let stale = false;
    for (const address of this.index.candidates(owner)) {
      const content = this.#read(toText(address));
      if (content === owner) held.push(address);
      stale ||= content === undefined;
    }
    // Somebody took a file away while we were changing another.
    if (!stale || this.isFresh) return held;
    this.rebuild();
    return this.held(owner);
  }

  /** Gives `address` to `owner`. False if somebody has it. */
  reserve(address: bigint, owner: string): boolean {
    const { index } = this;
    if (this.#draft?.owner !== owner) {
      this.#draft?.file.discard();
      this.#draft = undefined;
      this.#draft = { owner, file: new Draft(this.#directory, new TextEncoder().encode(owner)) };
    }
    if (!this.#draft.file.publish(toText(address))) return false;
    this.#changed = true;
    index.add(address, owner);
    return true;
  }

  /** Takes `address` away from `owner`, who holds it: see `held`. */
  release(address: bigint, owner: string): void {
    const { index } = this;
    this.#changed = true;
    remove(toText(address), this.#directory);
    index.remove(address, owner);
  }

  /**
   * Reads all reservations into a new index. Those that are dead are removed; what could not be is returned as errors.
   */
  rebuild(isDead: (entry: Entry) => boolean = () => false): unknown[] {
    this.#draft?.file.discard();
    this.#draft = undefined;
    const errors: unknown[] = [];
    const names = this.#names();
    const index = Index.empty(names.length);
    for (const name of names) {
      if (name === DRAFT) remove(name, this.#directory); // left by a crash: we hold the lock
      const bytes = parseIp(name);
      if (!bytes || (bytes.length === 16 && formatIp(bytes) !== name)) continue;
      const entry = { name, address: toNumber(bytes), content: this.#read(name) };
      try {
        if (isDead(entry)) {
          this.#changed = true;
          remove(name, this.#directory);
          continue;
        }
      } catch (error) {
        errors.push(error);
      }
      index.add(entry.address, entry.content || undefined);
    }
    this.#index = index;
    return errors;
  }

  /** When a reservation was made, in nanoseconds since 1970. */
  madeAt({ name }: Entry): bigint {
    return status(name, this.#directory)?.mtime ?? BigInt(clock(0));
  }

  /** The address that a set gave out last. Rubbish counts as none. */
  last(set: number): bigint | undefined {
    const text = readTextIfAny(`last_reserved_ip.${set}`, this.#directory);
    this.#pointerLength[set] = text?.length ?? 0;
    const bytes = text === undefined ? undefined : parseIp(text);
    return bytes && toNumber(bytes);
  }

  /** Remembers the address that a set gave out last. */
  setLast(set: number, address: bigint): void {
    const name = `last_reserved_ip.${set}`;
    const text = new TextEncoder().encode(toText(address));
    const fd = open(name, O_WRONLY | O_CREAT, 0o600, this.#directory);
    try {
      // In place: O_TRUNC makes ext4 allocate and write at close, a whole millisecond. Nor may anything stand after the
      // address, or the reference starts from the beginning.
      writeAt(fd, text, 0, `"${name}"`);
      if ((this.#pointerLength[set] ?? Number.POSITIVE_INFINITY) > text.length) truncate(fd, text.length);
    } finally {
      close(fd);
    }
  }

  /** Keeps what is known. To be called at the end, with the lock still held. */
  close(): void {
    this.#draft?.file.discard();
    try {
      this.#remember();
    } catch (error) {
      // No room, no permission, no such folder: the next one reads the files.
      if (!(error instanceof SystemError)) throw error;
    } finally {
      if (this.#cache >= 0) close(this.#cache);
    }
  }

  #names(): string[] {
    const fd = open(".", O_RDONLY | O_DIRECTORY, 0, this.#directory); // listing moves the place in an open directory
    try {
      return list(fd);
    } finally {
      close(fd);
    }
  }

  #remembered(): Index | undefined {
    if (this.#cacheFolder === "") return undefined;
    try {
      this.#cache = open(this.#path, O_RDWR);
      return Index.open(this.#cache, this.#time);
    } catch (error) {
      if (error instanceof SystemError) return undefined;
      throw error;
    }
  }

  #remember(): void {
    const index = this.#index;
    if (!index || this.#cacheFolder === "" || (!this.#changed && !index.isNew)) return;
    if (index.count === 0 || index.isWorn) {
      remove(this.#path);
      return;
    }
    if (this.#cache < 0) this.#cache = this.#create();
    if (index.isNew) truncate(this.#cache, 0);
    const time = BigInt(clock(0)) - 1_000_000_000n; // lib/ipam/cache.ts says why
    setTimes(this.#directory, time);
    // A file system that keeps coarser times, or none of ours, would hide changes.
    if (status("", this.#directory)!.mtime === time) index.save(this.#cache, time);
  }

  #create(): number {
    try {
      return open(this.#path, O_RDWR | O_CREAT, 0o600);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      makeDirectory(this.#cacheFolder, 0o700);
      return open(this.#path, O_RDWR | O_CREAT, 0o600);
    }
  }

  /** What a reservation says, without white space around it as the reference compares; undefined for no readable file. */
  #read(name: string): string | undefined {
    let fd: number;
    try {
      fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, this.#directory);
    } catch (error) {
      if (error instanceof SystemError) return undefined;
      throw error;
    }
    let length: number;
    do length = system("read", fd, content, content.length);
    while (length < 0 && errno() === 4);
    close(fd);
    return length < 0 ? undefined : decoder.decode(content.subarray(0, length)).trim();
  }
}

const content = new Uint8Array(4096);
const decoder = new TextDecoder();
