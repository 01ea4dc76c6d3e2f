// Features of a link that can be switched: ETHTOOL_MSG_FEATURES_GET and _SET. linux/ethtool_netlink.h; since Linux 5.8.
// Documentation/networking/ethtool-netlink.rst, "Bit sets" and "FEATURES_GET".
import { attrs, flag, list, text, u32 } from "../attr.ts";
import { attributesOf, findFamily, message } from "../generic.ts";
import type { Connection } from "../socket.ts";

const FEATURES_GET = 11;
const FEATURES_SET = 12;

const header = attrs({ index: [1, u32] });
const bit = attrs({ index: [1, u32], name: [2, text], value: [3, flag] });
const bitset = attrs({ noMask: [1, flag], size: [2, u32], bits: [3, list(1, bit)] });
const features = attrs({ header: [1, header], hardware: [2, bitset], wanted: [3, bitset], active: [4, bitset] });

/** Checksums of packets that leave, worked out by the card. */
export const txChecksum = "tx-checksum-ip-generic";

/** The names of the features that are on. */
export function listFeatures(connection: Connection, link: number): string[] {
  const family = findFamily(connection, "ethtool");
  const [reply] = connection.request(
    message(`list features of link ${link}`, { family, command: FEATURES_GET }, (to) =>
      features.write(to, { header: { index: link } }),
    ),
  );
  const { active } = features.read(attributesOf(reply!.answers[0]!));
  return (active?.bits ?? []).map(({ name = "" }) => name);
}

/** Switches one feature on or off. EINVAL for one that the kernel does not know. */
export function setFeature(connection: Connection, link: number, name: string, on: boolean): void {
  const family = findFamily(connection, "ethtool");
  connection.request(
    message(`set feature ${name} of link ${link}`, { family, command: FEATURES_SET }, (to) =>
      features.write(to, { header: { index: link }, wanted: { bits: [{ name, value: on }] } }),
    ),
  );
}
