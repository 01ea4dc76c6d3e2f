// One TCP connection that goes on: each thing said to the other side comes back with the address that it saw.
//
//   const talk = await converse(node, server, client, "10.1.0.2");     // the server listens on port 80
//   await talk.say("hello");                                           // "hello 10.1.0.3"
//   await talk.end();
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { execa } from "execa";
import type { Netns, Node } from "./node.ts";

export interface Conversation {
  /** Says a word; what came back within 10 s. */
  say(word: string): Promise<string>;
  end(): Promise<void>;
}

function run(node: Node, place: Pick<Netns, "path">, ...args: string[]) {
  const [program, ...into] = node.enter(place.path);
  return execa(program!, [...into, process.execPath, "run", import.meta.filename, ...args], {
    reject: false,
    stdin: "pipe",
    buffer: false,
    stderr: "inherit",
  });
}

/** Starts a server at port `listening`, and a client that connects to `port` of the address and stays connected. */
export async function converse(
  node: Node,
  server: Pick<Netns, "path">,
  client: Pick<Netns, "path">,
  address: string,
  port = 7777,
  listening = port,
): Promise<Conversation> {
  const serving = run(node, server, "serve", `${listening}`);
  await new Promise((resolve) => serving.stdout.once("data", resolve));
  const asking = run(node, client, "ask", address, `${port}`);
  const waiting: ((line: string) => void)[] = [];
  createInterface(asking.stdout).on("line", (line) => waiting.shift()?.(line));
  return {
    say: (word) =>
      new Promise((resolve) => {
        waiting.push(resolve);
        asking.stdin.write(`${word}\n`);
        setTimeout(() => resolve("nothing"), 10_000).unref();
      }),
    async end() {
      for (const one of [asking, serving]) one.stdin.end();
      await Promise.all([asking, serving]);
    },
  };
}

if (import.meta.main) {
  const [verb, first, second] = process.argv.slice(2);
  process.stdin.on("end", () => process.exit(0));
  if (verb === "serve") {
    const server = createServer((socket) => {
      const from = socket.remoteAddress?.replace(/^::ffff:/, "");
      socket.on("error", () => {}).on("data", (data) => socket.write(`${data.toString().trim()} ${from}\n`));
    });
    server.listen(Number(first), "::", () => process.stdout.write("ready\n"));
    process.stdin.resume();
  } else {
    const socket = connect({ host: first!, port: Number(second) });
    socket.on("error", (error) => process.stdout.write(`${error.message}\n`));
    socket.pipe(process.stdout);
    process.stdin.pipe(socket);
  }
}
