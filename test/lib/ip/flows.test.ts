// Which connections are forgotten, of those that a kernel of our own making remembers.
import { expect, test } from "bun:test";
import { forgetLed, forgetOlder, type Way } from "../../../lib/ip/flows.ts";
import { ip, type Type, Writer, writeAttr } from "../../../lib/netlink/attr.ts";
import { familyOf, parseIp } from "../../../lib/netlink/inet.ts";
import { Connection } from "../../../lib/netlink/socket.ts";
import type { Namespace } from "../../../lib/netns/netns.ts";
import { acknowledge, done, kernel, say } from "../../helpers/transport.ts";

type Seen = [source: string, destination: string, port: number, answers: string, answersPort: number];

const nested = (body: (to: Writer) => void): Type<undefined> => ({
  nested: true,
  write: (to) => body(to),
  read: () => undefined,
});

function tuple(to: Writer, at: number, source: string, destination: string, ports: [number, number]): void {
  const six = source.includes(":") ? 2 : 0;
  writeAttr(
    to,
    at,
    nested((inner) => {
      const addresses = nested((inner) => {
        writeAttr(inner, 1 + six, ip, source);
        writeAttr(inner, 2 + six, ip, destination);
      });
      const numbers = nested((inner) => {
        inner.put(Uint8Array.of(5, 0, 1, 0, 17, 0, 0, 0));
        for (const [at, port] of ports.entries())
          inner.put(Uint8Array.of(6, 0, 2 + at, 0, port >> 8, port & 255, 0, 0));
      });
      writeAttr(inner, 1, addresses, undefined);
      writeAttr(inner, 2, numbers, undefined);
    }),
    undefined,
  );
}

function flowBytes([source, destination, port, answers, answersPort]: Seen): Uint8Array {
  const to = new Writer();
  to.u8(familyOf(parseIp(source)!));
  to.skip(3);
  tuple(to, 1, source, destination, [4000, port]);
  tuple(to, 2, answers, source, [answersPort, 4000]);
  return to.done();
}

/** A namespace that remembers these and owns these addresses; what it is told to forget, by original destination. */
function remembering(seen: Seen[], own: string[] = [], count = `${seen.length}`) {
  const forgotten: string[] = [];
  const asked: (number | undefined)[] = [];
  const netfilter = kernel(([first, ...more]) => {
    const all = [first!, ...more];
    if (first!.type === 0x102) {
      for (const { payload } of all) {
        const six = payload[0] === 10;
        const at = 4 + 4 + 4 + (six ? 4 + 16 + 4 : 4 + 4 + 4);
        forgotten.push(ip.read(payload.subarray(at, at + (six ? 16 : 4))));
      }
      return all.map((one) => acknowledge(one));
    }
    const { payload, sequence } = first!;
    asked.push(payload.length > 32 ? (payload[24]! << 8) | payload[25]! : undefined);
    const flows = seen.filter(([source]) => familyOf(parseIp(source)!) === payload[0]);
    return [...flows.map((flow) => say(0x100, sequence, flowBytes(flow))), done(sequence)];
  });
  const route = kernel(([dump]) => [
    ...own.map((address) => {
      const to = new Writer();
      to.put(Uint8Array.of(familyOf(parseIp(address)!), 24, 0, 0, 1, 0, 0, 0));
      writeAttr(to, 1, ip, address);
      return say(20, dump!.sequence, to.done());
    }),
    done(dump!.sequence),
  ]);
  const ns = { netfilter: new Connection(netfilter), route: new Connection(route), run: () => count };
  return { ns: ns as unknown as Namespace, forgotten, asked };
}

const way: Way = { hostPort: 8080, ip: "10.1.0.2", port: 80 };
const node = "192.0.2.1";

test("after ADD goes what was sent to this host and leads elsewhere", () => {
  const { ns, forgotten, asked } = remembering(
    [
      ["192.0.2.9", node, 8080, node, 8080], // nobody listened
      ["192.0.2.9", "127.0.0.1", 8080, "10.1.0.9", 80], // to the pod before
      ["192.0.2.9", "192.0.2.3", 8080, "10.1.0.2", 80], // to this pod already
      ["10.1.0.5", "198.51.100.1", 8080, "198.51.100.1", 8080], // through this host
      ["10.1.0.5", "10.96.0.10", 8080, "10.1.0.9", 80], // to a service
      ["192.0.2.9", "192.0.2.2", 8081, "192.0.2.2", 8081], // to another port: a kernel that does not filter
    ],
    [node, "192.0.2.2", "192.0.2.3"],
  );
  forgetOlder(ns, [way]);
  expect(forgotten).toEqual([node, "127.0.0.1"]);
  expect(asked).toEqual([8080]);
});

test("of a way of one address only what was sent there goes", () => {
  const { ns, forgotten } = remembering([
    ["192.0.2.9", node, 8080, node, 8080],
    ["192.0.2.9", "192.0.2.2", 8080, "192.0.2.2", 8080],
  ]);
  forgetOlder(ns, [{ ...way, hostIp: node }]);
  expect(forgotten).toEqual([node]);
});

test("after DEL goes what was led there", () => {
  const { ns, forgotten } = remembering([
    ["192.0.2.9", node, 8080, "10.1.0.2", 80],
    ["192.0.2.9", "192.0.2.2", 8080, "10.1.0.2", 81],
    ["192.0.2.9", "192.0.2.3", 8080, "10.1.0.9", 80],
    ["192.0.2.9", "192.0.2.4", 8080, "192.0.2.4", 8080],
  ]);
  forgetLed(ns, [way]);
  expect(forgotten).toEqual([node]);
});

test("several ports and families are one list each", () => {
  const { ns, forgotten, asked } = remembering([
    ["192.0.2.9", node, 8080, "10.1.0.2", 80],
    ["192.0.2.9", "192.0.2.2", 8081, "10.1.0.2", 81],
    ["2001:db8::9", "2001:db8::1", 8080, "fd00::2", 80],
  ]);
  forgetLed(ns, [way, { ...way, hostPort: 8081, port: 81 }, { ...way, ip: "fd00::2" }]);
  expect(forgotten).toEqual([node, "192.0.2.2", "2001:db8::1"]);
  expect(asked).toEqual([undefined, 8080]);
});

test("any number is forgotten, as many at once as a socket takes", () => {
  const many = Array.from({ length: 600 }, (): Seen => ["192.0.2.9", node, 8080, "10.1.0.2", 80]);
  const { ns, forgotten } = remembering(many);
  forgetLed(ns, [way]);
  expect(forgotten).toHaveLength(600);
});

test("where nothing is remembered, or nothing was led, nothing is asked", () => {
  const { ns, asked } = remembering([], [], "0");
  forgetLed(ns, [way]);
  const other = remembering([["192.0.2.9", node, 8080, "10.1.0.2", 80]]);
  forgetOlder(other.ns, []);
  expect([...asked, ...other.asked]).toEqual([]);
});
