// The source `file`: a file that says which nodes there are, for networks without any server. JSON or YAML: a snapshot, or an
// object with `nodes`, or the list of nodes alone, in the snapshot's words. This node is the one with the agent's node name.
//
// The file is best replaced by renaming: that is taken at once. One whose text was written just now is read when it has been
// quiet for a moment. Empty, broken, without this node, or gone: the last good list goes on holding.
import { type FSWatcher, watch } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { parse } from "yaml";
import { type PeerNode, toSnapshot } from "../../lib/peers/snapshot.ts";
import { keepKnown, readFew } from "./records.ts";
import type { Listener, Source } from "./source.ts";

/** Milliseconds without a write until a file that is written in place counts as whole. */
const QUIET = 250;
/** Milliseconds between two looks that need no notice: file systems that give none, folders that were replaced. */
const LOOK = 5000;

/** The nodes in a file's text, those of `before` where they say the same. Throws what is wrong, naming the file. */
export function readNodes(
  text: string,
  file: string,
  network: string,
  self: string,
  before: readonly PeerNode[] = [],
): PeerNode[] {
  const wrong = (why: string, cause?: unknown) => new Error(`Cannot use "${file}": ${why}`, { cause });
  if (text.trim() === "") throw wrong("it is empty");
  let json: any;
  try {
    json = /^\s*[{[]/.test(text) ? JSON.parse(text) : parse(text);
  } catch (error) {
    throw wrong((error as Error).message.split("\n")[0]!, error);
  }
  const nodes: unknown = Array.isArray(json) ? json : json?.nodes;
  if (!Array.isArray(nodes)) throw wrong("it holds no list of nodes");
  if (nodes.length === 0) throw wrong("its list of nodes is empty");
  if (typeof json.network === "string" && json.network !== network)
    throw wrong(`it is of network "${json.network}", not "${network}"`);
  return (
    readFew(nodes, before, self) ?? keepKnown(toSnapshot({ version: 1, network, self, nodes }, file).nodes, before)
  );
}

/** The source; `every` milliseconds it looks without having been told of anything. */
export function fileSource(file: string, network: string, self: string, every = LOOK): Source {
  let watcher: FSWatcher | undefined;
  let look: ReturnType<typeof setInterval> | undefined;
  let quiet: ReturnType<typeof setTimeout> | undefined;
  let seen: string | undefined;
  let nodes: PeerNode[] = [];
  let reading = Promise.resolve();

  /** Reads the file if it is another one than before. Asks to be called later where it may not be whole yet. */
  async function read(listener: Listener, later: () => void): Promise<void> {
    let text: string;
    try {
      const { dev, ino, mtimeMs, ctimeMs, size } = await stat(file);
      const mark = [dev, ino, mtimeMs, ctimeMs, size].join(" ");
      if (mark === seen) return;
      // Writing changes both times, renaming the second alone. A time to come is another clock's, and says nothing.
      if (mtimeMs === ctimeMs && Math.abs(Date.now() - mtimeMs) < QUIET) return later();
      text = await readFile(file, "utf8");
      seen = mark;
    } catch (error) {
      seen = undefined; // the same file, when it is back, is news
      listener.trouble((error as Error).message);
      return;
    }
    try {
      nodes = readNodes(text, file, network, self, nodes);
      listener.trouble(undefined);
      listener.nodes(nodes);
    } catch (error) {
      listener.trouble((error as Error).message);
    }
  }

  return {
    start(listener) {
      const later = () => {
        clearTimeout(quiet);
        quiet = setTimeout(() => {
          quiet = undefined;
          next();
        }, QUIET);
      };
      const next = () => {
        reading = reading.then(() => read(listener, later));
      };
      const listen = () => {
        if (watcher) return;
        try {
          // The folder: a file that is replaced takes its own watch along with it.
          watcher = watch(dirname(file), { persistent: true }, (kind, name) => {
            // A symbolic link that leads there may change in the name of another file.
            if (name !== basename(file) && name !== "..data") return;
            if (kind === "rename") next();
            later();
          });
          watcher.on("error", () => {
            watcher?.close();
            watcher = undefined;
          });
        } catch {
          watcher = undefined; // no such folder yet: the next look tries again
        }
      };
      listen();
      look = setInterval(() => {
        listen();
        if (quiet === undefined) next();
      }, every);
      next();
    },
    async stop() {
      watcher?.close();
      clearInterval(look);
      clearTimeout(quiet);
      await reading;
      clearTimeout(quiet); // what was being read may have asked for more
    },
  };
}
