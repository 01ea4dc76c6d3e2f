// What other programs' tables do to the packets that a host forwards. An accept in one table of nftables ends the way through
// that table alone, so what another one drops is lost whatever ours says; all that can be done is to tell.
import type { Namespace } from "../netns/netns.ts";
import { dumpChains, readChain } from "../nftables/chain.ts";
import { inet } from "../nftables/layout.ts";
import { getTable } from "../nftables/table.ts";
import { status } from "../sys/file.ts";
import { isErrno } from "../sys/libc.ts";

/** The base chains of others that drop forwarded packets by their policy, but for those of iptables, where pods are let through. */
export function droppingChains(ns: Namespace): string[] {
  const names: string[] = [];
  for (const family of ["inet", "ip", "ip6"] as const) {
    for (const answer of ns.netfilter.dump(dumpChains({ family, name: "" }))) {
      const { table, name, base } = readChain(answer);
      if (base?.hook !== "forward" || base.policy !== "drop" || table.name === inet.name) continue;
      if (family !== "inet" && table.name === "filter" && name === "FORWARD") continue;
      names.push(`chain ${family} ${table.name} ${name}`);
    }
  }
  return names;
}

/** Whether firewalld's rules are in force: by its table, or where it has iptables write them, by its process. */
export function hasFirewalld(ns: Namespace): boolean {
  const [reply] = ns.netfilter.try(getTable({ family: "inet", name: "firewalld" }));
  if (!reply!.error) return true;
  if (!isErrno(reply!.error, "ENOENT")) throw reply!.error;
  return ["/run/firewalld.pid", "/sys/fs/cgroup/system.slice/firewalld.service"].some((path) => status(path));
}
