// tenon agent: keeps the paths to other nodes, and with them the conflist, right on this node.
import { parseArgs } from "node:util";
import type { Command } from "../command.ts";

export const agent: Command = {
  summary: "keeps this node's networks right: its subnets, the paths to other nodes, the conflist",
  usage: `
Usage: tenon agent [--config FILE] [--check]

  --config FILE  its configuration; default /etc/tenon/agent.yaml
  --check        read the configuration, say what is wrong with it, and end

It runs until it is told to end (SIGTERM, SIGINT), and leaves everything as it is then. SIGHUP: templates are read anew.
It answers on 127.0.0.1:9811, or as configured: /healthz, /readyz, /metrics.`,
  async run(args) {
    const { values } = parseArgs({
      args,
      options: {
        config: { type: "string", default: "/etc/tenon/agent.yaml" },
        check: { type: "boolean", default: false },
      },
    });
    // Its libraries are loaded here: other commands do without them.
    const { loadSettings } = await import("../agent/settings.ts");
    const settings = await loadSettings(values.config);
    if (values.check) return 0;
    const { startAgent } = await import("../agent/agent.ts");
    const ended = new Promise<void>((resolve) => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
    });
    const { healing } = await import("../agent/healing.ts");
    const running = await startAgent(settings, (ground) => [healing(ground, settings)]);
    process.on("SIGHUP", () => running.reload());
    await ended;
    await running.stop();
    return 0;
  },
};
