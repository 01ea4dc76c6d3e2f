// How an executable lies in the page cache decides a third of its start-up. Read piece by piece as it is run, it lies there in
// small pieces, and each costs a fault; in pieces of 2 MB the kernel maps it with a few. Only one that is not in the cache
// can be laid out anew, and only where the file system holds large folios (xfs, ext4 from Linux 6.16, btrfs from 6.17).
import { link } from "#ffi";
import { close, O_RDONLY, open, status } from "./file.ts";
import { libraries, system } from "./libc.ts";

// asm-generic/mman-common.h, linux/fadvise.h
const PROT_READ = 1;
const MAP_PRIVATE = 2;
const MADV_HUGEPAGE = 14;
const MADV_POPULATE_READ = 22; // Linux 5.14
const POSIX_FADV_DONTNEED = 4;

const calls = () =>
  link(libraries, {
    mmap: [["pointer", "usize", "i32", "i32", "i32", "i64"], "pointer"],
    madvise: [["pointer", "usize", "i32"], "i32"],
    munmap: [["pointer", "usize"], "i32"],
    posix_fadvise: [["i32", "i64", "i64", "i32"], "i32"],
  }) as Record<"mmap" | "madvise" | "munmap" | "posix_fadvise", (...args: number[]) => number>;

/** Has the kernel forget what it remembers of a file's content, but for what a process has mapped. */
export function forget(path: string): void {
  const fd = open(path, O_RDONLY);
  try {
    system("fsync", fd); // what is not on the disk yet cannot be forgotten
    calls().posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  } finally {
    close(fd);
  }
}

/**
 * Has the kernel forget a file and read it anew in the largest pieces it has; what another process has mapped stays as it is.
 * Before Linux 5.14, or where the file cannot be mapped, nothing happens: nothing but time depends on it.
 */
export function readInLargePieces(path: string): void {
  const { mmap, madvise, munmap } = calls();
  const fd = open(path, O_RDONLY);
  try {
    const size = status(path)!.size;
    const at = mmap(0, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (Number(at) >= 2 ** 63) return; // MAP_FAILED, -1
    // Of no bytes: tells whether the kernel knows the word, before anything is forgotten.
    if (madvise(at, 0, MADV_POPULATE_READ) === 0) {
      forget(path);
      madvise(at, size, MADV_HUGEPAGE);
      madvise(at, size, MADV_POPULATE_READ);
    }
    munmap(at, size);
  } finally {
    close(fd);
  }
}
