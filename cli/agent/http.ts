// What the agent answers: /healthz while it runs, /readyz when pods can be attached to every network, /metrics.
import type { Registry } from "prom-client";

export interface Answers {
  /** What is missing until pods can be attached, by network. */
  missing(): string[];
  /** Called before the figures are read. */
  refresh(): void;
  registry: Registry;
}

/** Serves on ADDRESS:PORT; "[::1]:9811" is one too. */
export function serve(
  address: string,
  { missing, refresh, registry }: Answers,
): { port: number; stop(): Promise<void> } {
  const colon = address.lastIndexOf(":");
  const hostname = address.slice(0, colon).replace(/^\[|\]$/g, "");
  const text = (body: string, status = 200) => new Response(`${body}\n`, { status });
  let server: ReturnType<typeof Bun.serve>;
  try {
    server = Bun.serve({
      hostname,
      port: Number(address.slice(colon + 1)),
      // Nothing of ours takes a body.
      maxRequestBodySize: 1024,
      async fetch(request) {
        if (request.method !== "GET" && request.method !== "HEAD") return text("only GET", 405);
        // Without a Host header the address is a mere path.
        switch (new URL(request.url, "http://localhost").pathname) {
          case "/healthz":
            return text("ok");
          case "/readyz": {
            const waiting = missing();
            return waiting.length > 0 ? text(waiting.join("\n"), 503) : text("ok");
          }
          case "/metrics":
            refresh();
            return new Response(await registry.metrics(), { headers: { "content-type": registry.contentType } });
          default:
            return text("/healthz, /readyz, /metrics", 404);
        }
      },
      error: (error) => text(error.message, 500),
    });
  } catch (error) {
    throw new Error(`Cannot serve on ${address}: ${(error as Error).message}`, { cause: error });
  }
  return { port: server.port ?? 0, stop: () => server.stop(true) };
}
