#!/usr/bin/env bun
// chain: a list of plugins in one process, with the results that the same list has in a conflist.
// https://www.cni.dev/docs/spec/#section-1-network-configuration-format
import { any, bool, config } from "../lib/cni/config.ts";
import { main } from "../lib/cni/main.ts";
import type { Plugin, Request } from "../lib/cni/request.ts";
import { addAll, checkAll, deleteAll, missingCapabilities, partsOf, runEach, steps } from "../lib/cni/sequence.ts";
import { keepingPodsOpen } from "../lib/ip/pod.ts";

const conf = config({
  plugins: [
    steps("chain"),
    { required: true },
    "the plugins in their order, each with the keys that it has in a conflist; none may be a chain",
  ],
  capabilities: [
    any,
    "what the runtime is to pass: all that the plugins in the list declare; each gets what it declares itself",
  ],
  runtimeConfig: [any, "what the runtime passes"],
  args: [any, "arguments, for every plugin in the list that has none of its own"],
  disableCheck: [bool, { default: false }, "CHECK succeeds without looking"],
  disableGC: [bool, { default: false }, "GC succeeds without doing anything"],
});

type ChainRequest = Request<typeof conf>;

function status(request: ChainRequest): void {
  const { plugins, capabilities } = request.conf;
  for (const { capability, of } of missingCapabilities(plugins, capabilities)) {
    request.warn(
      `${of.key}, ${of.type}, gets no ${capability} from the runtime: capabilities of the chain must declare it too`,
    );
  }
  runEach(request, plugins);
}

export const plugin: Plugin<typeof conf> = {
  conf,
  // Every plugin in the list looks into the same pod.
  add: (request) => keepingPodsOpen(() => addAll(request, request.conf.plugins)),
  check: (request) => {
    if (!request.conf.disableCheck) keepingPodsOpen(() => checkAll(request, request.conf.plugins));
  },
  del: (request) => keepingPodsOpen(() => deleteAll(request, request.conf.plugins)),
  gc: (request) => {
    if (!request.conf.disableGC) runEach(request, request.conf.plugins);
  },
  status,
  parts: (request) => partsOf(request, request.conf.plugins),
};

if (import.meta.main) main(plugin);
