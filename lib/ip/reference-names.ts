// What the Go plugins call what they make in netfilter (pkg/utils/utils.go and the plugins that use it): hashes of network
// and container, and comments. The interface's name is part of few of them: a container's interfaces in one network share
// the rest.
import { hexName } from "../cni/identity.ts";
import type { Attachment } from "../cni/request.ts";

/** An attachment of theirs. */
export interface Owner extends Attachment {
  network: string;
}

/** The chain of a container's masquerade in iptables. */
export const masqueradeChain = ({ network, containerId }: Omit<Owner, "ifname">) =>
  hexName("CNI-", network + containerId, 28);
/** The chain of a container's host ports in iptables. */
export const portsChain = ({ network, containerId }: Omit<Owner, "ifname">) =>
  hexName("CNI-DN-", network + containerId, 28);
/** The chains of an interface's allowed source addresses, in table bridge nat: the one that the first leads to is the second. */
export const spoofChains = ({ containerId, ifname }: Attachment) => {
  const name = `cni-br-iface-${containerId}-${ifname}`;
  return [name, `${name}-mac`] as const;
};

/** How comments in table inet cni_plugins_masquerade begin, and for a whole network. */
export const masqueradeName = ({ network, containerId, ifname }: Owner) =>
  `${networkName(network)}${hexName("", `${ifname}:${containerId}`, 16)}`;
export const networkName = (network: string) => `${hexName("", network, 16)}-`;

/** The comment of a container's rules in iptables: `name: "net" id: "c1"`, in front of host ports "dnat ". */
export const commentOf = ({ network, containerId }: Omit<Owner, "ifname">) => `name: "${network}" id: "${containerId}"`;

/** The container of such a comment, if it is of the network. Comments are cut at 255 bytes: then of nobody. */
export function containerOf(comment: string, network: string): string | undefined {
  const [before] = commentOf({ network, containerId: "\0" }).split("\0") as [string];
  const rest = comment.startsWith("dnat ") ? comment.slice(5) : comment;
  return rest.startsWith(before) && rest.endsWith('"') ? rest.slice(before.length, -1) : undefined;
}
