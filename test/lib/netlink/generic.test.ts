import { expect, test } from "bun:test";
import { attributesOf, findFamily, message, NETLINK_GENERIC } from "../../../lib/netlink/generic.ts";
import { Connection, openSocket } from "../../../lib/netlink/socket.ts";
import { hex, messageOf, rows } from "../../helpers/bytes.ts";

test("a message has the family for its type and the command in its header", () => {
  const bytes = messageOf(message("ask", { family: 21, command: 11 }, (to) => to.u32(5)));
  expect(rows(bytes)).toEqual(
    rows(
      hex(`
      18 00 00 00
      15 00 01 00  the family, REQUEST
      07 00 00 00
      00 00 00 00
      0b 01 00 00  command 11, version 1
      05 00 00 00
      `),
    ),
  );
  expect(attributesOf({ payload: bytes.subarray(16) })).toEqual(hex("05 00 00 00"));
  expect(() => attributesOf({ payload: new Uint8Array(2) })).toThrow(RangeError);
});

test("families are found by their name; one that the kernel lacks is ENOENT", () => {
  const connection = new Connection(openSocket(NETLINK_GENERIC));
  try {
    expect(findFamily(connection, "nlctrl")).toBe(16);
    expect(findFamily(connection, "ethtool")).toBeGreaterThan(16);
    expect(() => findFamily(connection, "tenon")).toThrow("Cannot find netlink family tenon");
  } finally {
    connection.close();
  }
});
