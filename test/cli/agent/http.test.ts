import { expect, test } from "bun:test";
import { serve } from "../../../cli/agent/http.ts";
import { makeMetrics } from "../../../cli/agent/metrics.ts";

test("it answers whether it lives, what is missing, and its figures, read anew each time", async () => {
  const { registry, peers } = makeMetrics();
  const waiting = ["pods: the source has not answered yet"];
  let looks = 0;
  const refresh = () => peers.set({ network: "pods" }, ++looks);
  const server = serve("127.0.0.1:0", { missing: () => waiting, refresh, registry });
  try {
    const get = async (path: string, init = {}) => {
      const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, init);
      return [answer.status, await answer.text()] as const;
    };
    expect(await get("/healthz")).toEqual([200, "ok\n"]);
    expect(await get("/readyz")).toEqual([503, "pods: the source has not answered yet\n"]);
    waiting.pop();
    expect(await get("/readyz?verbose")).toEqual([200, "ok\n"]);
    expect((await get("/metrics"))[1]).toContain('tenon_peers{network="pods"} 1\n');
    expect((await get("/metrics"))[1]).toContain('tenon_peers{network="pods"} 2\n');
    expect((await get("/"))[0]).toBe(404);
    expect((await get("/healthz", { method: "POST" }))[0]).toBe(405);
  } finally {
    await server.stop();
  }
});

test("an address that is taken is named", async () => {
  const { registry } = makeMetrics();
  const answers = { missing: () => [], refresh: () => {}, registry };
  const first = serve("127.0.0.1:0", answers);
  try {
    expect(() => serve(`127.0.0.1:${first.port}`, answers)).toThrow(`Cannot serve on 127.0.0.1:${first.port}: `);
  } finally {
    await first.stop();
  }
});
