import { afterAll, beforeAll, expect, test } from "bun:test";
import { deleteFlow, dumpFlows, type Flow, readFlow } from "../../../lib/netlink/conntrack.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { bodyOf, hex, rows } from "../../helpers/bytes.ts";
import { ask, type Target } from "../../helpers/echo.ts";
import { makeNode, type Node, uplink } from "../../helpers/node.ts";

const head = "02 00 00 00"; // AF_INET
const tuple = `
  1c 00 01 80            CTA_TUPLE_IP
  08 00 01 00 c0 00 02 fe  CTA_IP_V4_SRC
  08 00 02 00 c0 00 02 01  CTA_IP_V4_DST
  1c 00 02 80            CTA_TUPLE_PROTO
  05 00 01 00 11 00 00 00  CTA_PROTO_NUM: UDP
  06 00 02 00 9c 40 00 00  CTA_PROTO_SRC_PORT
  06 00 03 00 1f 90 00 00  CTA_PROTO_DST_PORT
`.replaceAll("1c 00 01 80", "14 00 01 80");

const flow: Flow = {
  protocol: 17,
  original: { source: "192.0.2.254", destination: "192.0.2.1", sourcePort: 40000, destinationPort: 8080 },
  reply: { source: "10.1.0.2", destination: "192.0.2.254", sourcePort: 80, destinationPort: 40000 },
  family: 2,
  name: { original: hex(tuple), id: hex("12 34 56 78"), zone: undefined },
};

test("connections are asked for by protocol and port, which the kernel looks for alone", () => {
  expect(dumpFlows(2, 17, 8080)).toMatchObject({ label: "list connections", type: 0x0101, flags: 0 });
  const port = hex(`${head}
    18 00 01 80          CTA_TUPLE_ORIG
    14 00 02 80          CTA_TUPLE_PROTO
    05 00 01 00 11 00 00 00
    06 00 03 00 1f 90 00 00
    0c 00 19 80          CTA_FILTER
    08 00 01 00          CTA_FILTER_ORIG_FLAGS
    28 00 00 00          CTA_FILTER_FLAG(CTA_PROTO_NUM), CTA_FILTER_FLAG(CTA_PROTO_DST_PORT)
  `);
  expect(rows(bodyOf(dumpFlows(2, 17, 8080)))).toEqual(rows(port));
  const all = hex("0a 00 00 00 10 00 01 80 0c 00 02 80 05 00 01 00 11 00 00 00 0c 00 19 80 08 00 01 00 08 00 00 00");
  expect(rows(bodyOf(dumpFlows(10, 17)))).toEqual(rows(all));
});

test("a connection is read, and named to the kernel in its own words", () => {
  const answer = hex(`${head}
    34 00 01 80          CTA_TUPLE_ORIG
    ${tuple}
    34 00 02 80          CTA_TUPLE_REPLY
    14 00 01 80
    08 00 01 00 0a 01 00 02
    08 00 02 00 c0 00 02 fe
    1c 00 02 80
    05 00 01 00 11 00 00 00
    06 00 02 00 00 50 00 00
    06 00 03 00 9c 40 00 00
    08 00 03 00 00 00 00 0e  CTA_STATUS, of no use here
    08 00 0c 00          CTA_ID
    12 34 56 78
  `);
  expect(readFlow({ payload: answer })).toEqual(flow);
  expect(deleteFlow(flow)).toMatchObject({
    label: "forget connection 192.0.2.254 to 192.0.2.1 port 8080",
    type: 0x0102,
    accept: ["ENOENT"],
  });
  expect(rows(bodyOf(deleteFlow(flow)))).toEqual(rows(hex(`${head}\n34 00 01 80\n${tuple}\n08 00 0c 00\n12 34 56 78`)));
});

test("a payload without its header is a RangeError", () => {
  expect(() => readFlow({ payload: new Uint8Array(3) })).toThrow(RangeError);
});

let node: Node;
let ns: Namespace;
beforeAll(async () => {
  node = await makeNode("conntrack", { uplink: true });
  ns = openNamespace(node.path("/proc/1/ns/net"));
  // Connections are remembered where rules ask for them.
  await node.exec("nft", ["-f", "-"], {
    input: "table inet t { chain c { type filter hook input priority 0; ct state new accept\n }\n }\n",
  });
});
afterAll(async () => {
  ns.close();
  await node.close();
});

test("the kernel lists what was asked for and nothing else, and forgets one connection", async () => {
  const [four, six] = uplink.node;
  const targets: Target[] = [
    ["udp", four, 8080, 40000],
    ["udp", four, 8081, 40001],
    ["udp", six, 8080, 40002],
    ["tcp", four, 8080],
  ];
  expect(await ask(node.outside!, targets)).toEqual(targets.map(() => "ECONNREFUSED"));
  const list = (...asked: Parameters<typeof dumpFlows>) => ns.netfilter.dump(dumpFlows(...asked)).map(readFlow);
  const ports = (flows: Flow[]) => flows.map(({ original }) => original.sourcePort).sort();
  expect(ports(list(2, 17))).toEqual([40000, 40001]);
  expect(ports(list(2, 17, 8080))).toEqual([40000]);
  expect(ports(list(10, 17, 8080))).toEqual([40002]);
  const [found] = list(2, 17, 8080);
  expect(found).toMatchObject({ protocol: 17, original: { source: "192.0.2.254", destination: four } });
  ns.netfilter.request(deleteFlow(found!));
  ns.netfilter.request(deleteFlow(found!));
  expect(ports(list(2, 17))).toEqual([40001]);
});
