// One verb of one plugin, in this process.
import { badConfig, CniError, codes, runAll } from "./errors.ts";
import { assertVersion, type Plugin, type Request } from "./request.ts";
import type { Result } from "./result.ts";

/** Runs the verb that the request names. A result for ADD, else undefined. */
export function serve(plugin: Plugin<any>, request: Request<any>): Result | undefined {
  assertVersion(request.verb, request.cniVersion, plugin.versions);
  switch (request.verb) {
    case "ADD":
      return plugin.add(request);
    case "DEL":
      runAll("DEL", [() => plugin.del(request)]);
      return undefined;
    case "CHECK":
      plugin.check?.(request);
      return undefined;
    case "STATUS":
      plugin.status?.(request);
      return undefined;
    case "GC":
      if (!request.validAttachments) {
        // An absent list and an empty one are worlds apart: nobody alive, or nobody asked.
        throw badConfig("cni.dev/valid-attachments", undefined, "GC needs the list of attachments that are alive");
      }
      runAll("GC", [() => plugin.gc?.(request)]);
      return undefined;
    default:
      throw new CniError(codes.internal, `Cannot serve ${request.verb}`);
  }
}
