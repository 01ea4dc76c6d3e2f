// Name resolution as resolv.conf(5) describes it, read as the reference does: nameserver, search and options add up,
// the last domain counts.
import type { Dns } from "../cni/result.ts";
import { readText } from "../sys/file.ts";

/** The settings of a file; throws if it cannot be read. */
export function readResolvConf(path: string): Dns {
  return parseResolvConf(readText(path));
}

export function parseResolvConf(text: string): Dns {
  const dns = {
    nameservers: [] as string[],
    domain: undefined as string | undefined,
    search: [] as string[],
    options: [] as string[],
  };
  for (const line of text.split("\n")) {
    const [key, ...values] = line.trim().split(/\s+/);
    if (/^[#;]/.test(key!) || values.length === 0) continue;
    if (key === "nameserver") dns.nameservers.push(values[0]!);
    if (key === "domain") dns.domain = values[0]!;
    if (key === "search") dns.search.push(...values);
    if (key === "options") dns.options.push(...values);
  }
  return dns;
}
