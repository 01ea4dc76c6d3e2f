// Who is it that I hear from? A TCP and UDP server that answers with its name and its client's address, and clients of it,
// each in whatever network namespace they are started in.
//
//   const web = await startEcho(pod, "web", [80, 81]);     // "web" listens to both protocols and families on both ports
//   await ask(node, [["tcp", "127.0.0.1", 8080], ["udp", "::1", 8080]]);      // ["web 10.1.0.1", "ECONNREFUSED"]
//
// Without an answer for a second: "timeout". A port of one's own as fourth makes several UDP packets one connection.
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { execa } from "execa";
import type { Netns, Node } from "./node.ts";

export type Target = [protocol: "tcp" | "udp", host: string, port: number, from?: number];

const command = (verb: string, argument: unknown) => ["run", import.meta.filename, verb, JSON.stringify(argument)];

/** Starts a server in a pod; it ends with its node, or by stop(). */
export async function startEcho(
  node: Node,
  pod: Pick<Netns, "path">,
  name: string,
  ports: number[],
): Promise<{ stop(): Promise<void> }> {
  const [program, ...into] = node.enter(pod.path);
  const running = execa(program!, [...into, process.execPath, ...command("serve", { name, ports })], {
    reject: false,
    stdin: "pipe",
    buffer: false,
    stderr: "inherit",
  });
  await new Promise<void>((resolve, reject) => {
    running.stdout.once("data", () => resolve());
    running.then((ended) => reject(new Error(`Cannot start echo ${name}: ${ended.message}`)));
  });
  return {
    async stop() {
      running.stdin.end();
      await running;
    },
  };
}

/** Asks all targets at once, from a node or a pod. */
export async function ask(from: Pick<Node, "exec">, targets: readonly Target[]): Promise<string[]> {
  const { stdout } = await from.exec(process.execPath, command("ask", targets));
  return JSON.parse(stdout);
}

const plain = (address: string | undefined) => address?.replace(/^::ffff:/, "");

async function serve({ name, ports }: { name: string; ports: number[] }): Promise<void> {
  const ready: Promise<unknown>[] = [];
  for (const port of ports) {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.end(`${name} ${plain(socket.remoteAddress)}`);
    });
    ready.push(new Promise((resolve) => server.listen(port, "::", () => resolve(undefined))));
    for (const type of ["udp4", "udp6"] as const) {
      const socket = createSocket({ type, ipv6Only: true });
      socket.on("error", () => {}); // a client that is gone: its kernel says so of the answer
      socket.on("message", (_, { address, port }) => socket.send(`${name} ${plain(address)}`, port, address));
      ready.push(new Promise((resolve) => socket.bind(port, () => resolve(undefined))));
    }
  }
  await Promise.all(ready);
  process.stdin.on("end", () => process.exit(0)).resume();
  process.stdout.write("ready\n");
}

function askOne([protocol, host, port, from]: Target): Promise<string> {
  return new Promise((resolve) => {
    setTimeout(() => resolve("timeout"), 1000);
    const failed = (error: Error & { code?: string }) => resolve(error.code ?? error.message);
    if (protocol === "tcp") {
      const socket = connect({ host, port });
      socket.on("error", failed).on("data", (data) => resolve(data.toString()));
      return;
    }
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    socket.on("error", failed).on("message", (data) => resolve(data.toString()));
    socket.bind(from ?? 0, () => socket.connect(port, host, () => socket.send("?")));
  });
}

if (import.meta.main) {
  const [verb, argument] = process.argv.slice(2);
  if (verb === "serve") await serve(JSON.parse(argument!));
  else {
    const answers = await Promise.all((JSON.parse(argument!) as Target[]).map(askOne));
    process.stdout.write(JSON.stringify(answers), () => process.exit(0));
  }
}
