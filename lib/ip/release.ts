// Ending without waiting for what was deleted. The kernel frees rules and elements some time after they are out of force, and
// whoever closes the last netfilter socket that deletes were sent by waits for it: 10 to 25 ms at the end of a DEL.
import type { Namespace } from "../netns/netns.ts";
import { holdFromHelper } from "../sys/helper.ts";
import { startHelper } from "./unplug.ts";

/** The socket that a helper holds open already: until this process has ended, whatever else is sent by it. */
let held: number | undefined;

/** To be called last: a helper process holds the netfilter socket open until this one has ended. */
export function releaseLater(ns: Namespace): void {
  const fd = ns.netfilterFd;
  if (fd === undefined || fd === held) return;
  if (startHelper(() => holdFromHelper(fd))) held = fd;
}
