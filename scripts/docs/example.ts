// What an example asks of a runtime.
import { declared } from "../../cli/lint/capabilities.ts";

/** The capabilities that the plugins of a list ask for. */
export function declaredBy({ plugins }: { plugins: Record<string, unknown>[] }): string[] {
  return [...new Set(plugins.flatMap(declared))];
}
