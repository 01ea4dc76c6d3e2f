// tenon agent: keeps the paths to other nodes, and with them the conflist, right on this node.
import type { Agent } from "../agent/agent.ts";
import { command } from "../command.ts";

export const agent = command({
  name: "agent",
  summary: "keeps this node's networks right: its subnets, the paths to other nodes, the conflist",
  options: {
    config: { value: "FILE", word: "file", about: "its configuration; default /etc/tenon/agent.yaml" },
    check: { about: "read the configuration, say what is wrong with it, and end" },
    install: { value: "FOLDER", word: "directory", about: "first put the plugins there, by renaming" },
    image: { value: "FILE", word: "file", about: "the plugins to install; default /usr/lib/tenon/tenon-cni" },
  },
  more: `It runs until it is told to end (SIGTERM, SIGINT), and leaves everything as it is then. SIGHUP: templates are read anew.
It answers on 127.0.0.1:9811, or as configured: /healthz, /readyz, /metrics.`,
  async run({ config = "/etc/tenon/agent.yaml", check = false, install, image = "/usr/lib/tenon/tenon-cni" }) {
    let running: Agent | undefined;
    let reread = false;
    // First of all: who does not listen is ended by it.
    process.on("SIGHUP", () => {
      reread = true;
      running?.reload();
    });
    // Its libraries are loaded here: other commands do without them.
    const { loadSettings } = await import("../agent/settings.ts");
    const settings = await loadSettings(config);
    if (check) return 0;
    const { installPlugins, settlePlugins } = await import("../agent/install.ts");
    if (install !== undefined) {
      if (await installPlugins(image, install)) process.stderr.write(`installed the plugins in ${install}\n`);
    }
    const { startAgent } = await import("../agent/agent.ts");
    const { healing } = await import("../agent/healing.ts");
    const { sweeping } = await import("../agent/sweep.ts");
    const ended = new Promise<void>((resolve) => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
    });
    running = await startAgent(settings, (ground) => [healing(ground, settings), sweeping(ground, settings)]);
    if (reread) running.reload();
    settlePlugins(settings.plugins);
    await ended;
    await running.stop();
    return 0;
  },
});
