// Name resolution as resolv.conf(5) describes it, read as the reference does: nameserver, search and options add up,
// the last domain counts.
import { badConfig } from "../cni/errors.ts";
import type { Dns } from "../cni/result.ts";
import { readText } from "../sys/file.ts";
import { errnoText, SystemError } from "../sys/libc.ts";

/** The settings of the file that `key` of the configuration names; code 7 if it cannot be read. */
export function readResolvConf(path: string, key: string): Dns {
  try {
    return parseResolvConf(readText(path));
  } catch (error) {
    if (error instanceof SystemError) throw badConfig(key, path, errnoText(error.errno));
    throw error;
  }
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
