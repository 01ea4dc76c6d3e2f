// Gives memory back after work: what a list of thousands leaves behind would stay until the heap has grown by as much again.

let timer: ReturnType<typeof setTimeout> | undefined;

/** Milliseconds without work after which that is done. */
const QUIET = 3000;

/** To be called after work; nothing happens while there is more of it. */
export function rest(): void {
  clearTimeout(timer);
  timer = setTimeout(() => Bun.gc(true), QUIET);
  timer.unref();
}
