import { expect, test } from "bun:test";
import { askAgent } from "../../../cli/status/agent.ts";

test("an agent that is ready, one that waits, and none", async () => {
  let waits = "";
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url }) => new Response(waits || "ok", { status: !url.endsWith("/readyz") ? 404 : waits ? 503 : 200 }),
  });
  const address = `127.0.0.1:${server.port}`;
  try {
    expect(await askAgent(address)).toEqual({ state: "ready" });
    waits = "network pods: no peers yet\nnetwork more: no subnet\n";
    expect(await askAgent(address)).toEqual({
      state: "waiting",
      waits: ["network pods: no peers yet", "network more: no subnet"],
    });
  } finally {
    await server.stop(true);
  }
  expect(await askAgent(address)).toEqual({ state: "none" });
});
