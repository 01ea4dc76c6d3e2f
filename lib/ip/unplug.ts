// Removing a link without waiting for the kernel to free it: a helper process carries the wait (15 to 30 ms).
// When the notification of the link's end is there, both ends are out of every look-up, in both namespaces.

import { Writer } from "../netlink/attr.ts";
import { deleteLink, LINK_GONE, RTMGRP_LINK } from "../netlink/rtnl/link.ts";
import { eachMessage, NLM_F_ACK, openSocket, writeMessage } from "../netlink/socket.ts";
import { host } from "../netns/netns.ts";
import {
  close,
  makeDirectory,
  O_CREAT,
  O_TRUNC,
  O_WRONLY,
  open,
  readTextIfAny,
  status,
  writeAll,
} from "../sys/file.ts";
import { sendFromHelper } from "../sys/helper.ts";
import { clock, isErrno, SystemError } from "../sys/libc.ts";
import { mapped } from "../sys/list.ts";
import { findLink, removeLink } from "./link.ts";

const directory = "/run/tenon";
/** Exists where helpers are not to be used: made by an administrator, or by us when one was left unreaped. */
export const plainDeleteMark = `${directory}/plain-delete`;
const record = `${directory}/helper`;

/** What STATUS tells people where helpers are not used. */
export function plainDeleteWarning(): string | undefined {
  const reason = readTextIfAny(plainDeleteMark);
  if (reason === undefined) return undefined;
  return `DEL waits for the kernel, because ${plainDeleteMark} exists${reason.trim() ? ` (${reason.trim()})` : ""}`;
}

const NETLINK_ROUTE = 0;
const NLMSG_ERROR = 2;
/** How long the news of a link's end may take. */
const newsMs = 2000;

/** Removes a link of the host by name and returns when it is unlisted. False if there was none. */
export function unplugLink(name: string): boolean {
  const link = findLink(host, name);
  if (!link) return false;
  const socket = openSocket(NETLINK_ROUTE, { groups: RTMGRP_LINK, timeoutMs: newsMs });
  try {
    const to = new Writer(64);
    const message = deleteLink({ index: link.index });
    writeMessage(to, message, 1, NLM_F_ACK);
    // The netfilter socket goes along: whoever closes it last waits for what was deleted through it.
    const keep = host.netfilterFd === undefined ? [] : [host.netfilterFd];
    if (!startHelper(() => sendFromHelper(socket.fd, to.done().slice(), keep))) {
      return removeLink(host, { index: link.index });
    }
    if (awaitEnd(socket, link.index)) return true;
  } finally {
    socket.close();
  }
  // Refused, or the news was lost (ENOBUFS, two seconds without any): look, and if need be ask again and wait.
  if (!findLink(host, link.index)) return true;
  return removeLink(host, { index: link.index });
}

/** Starts a helper process where they are used, and keeps it on record. False: nothing was started. */
export function startHelper(start: () => number | undefined): boolean {
  const before = status(plainDeleteMark) ? undefined : earlierHelper();
  let helper: number | undefined;
  try {
    helper = before && start();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error; // no process or descriptor is to be had: then it goes without
  }
  if (helper === undefined) return false;
  if (before === "gone") writeRecord(record, `${helper} ${clock(7)}`);
  return true;
}

/** True when the kernel says that the link is gone, false when it refused or said nothing of it, whatever it said of others. */
function awaitEnd(socket: { receive(wait: boolean): Uint8Array }, index: number): boolean {
  for (const end = clock(1) + 1e6 * newsMs; clock(1) < end; ) {
    let datagram: Uint8Array;
    try {
      datagram = socket.receive(true);
    } catch (error) {
      if (isErrno(error, "ENOBUFS", "ETIMEDOUT")) return false;
      throw error;
    }
    let answer: boolean | undefined;
    eachMessage(datagram, (type, sequence, payload) => {
      const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
      if (type === NLMSG_ERROR && sequence === 1) answer ??= view.getInt32(0, true) === 0;
      // AF_BRIDGE says the same words earlier, when the port leaves its bridge.
      else if (type === LINK_GONE && payload[0] === 0 && view.getInt32(4, true) === index) answer = true;
    });
    if (answer !== undefined) return answer;
  }
  return false;
}

/**
 * What became of the helper on record: "gone", "young" (too early to tell; it stays on record), or undefined if it was
 * never reaped. A PID 1 that does not reap would pile them up, so that ends their use.
 */
function earlierHelper(): "gone" | "young" | undefined {
  const text = readRecord();
  if (!text) return "gone";
  const [pid, started] = mapped(text.split(" "), Number) as [number, number];
  const age = clock(7) - started;
  // A helper needs some 30 ms; after two seconds it is reaped or never will be.
  if (age >= 0 && age < 2e9) return "young";
  const stat = readTextIfAny(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  const bornBefore = fields && Number(fields[19]) * 1e7 <= started + 1e7; // ticks of 10 ms since boot
  if (fields?.[0] !== "Z" || !bornBefore) return "gone";
  writeRecord(plainDeleteMark, `helper ${pid} was not reaped\n`);
  return undefined;
}

function readRecord(): string | undefined {
  try {
    return readTextIfAny(record);
  } catch (error) {
    // Something else in its place is no reason to refuse a DEL either.
    if (!(error instanceof SystemError)) throw error;
    return undefined;
  }
}

function writeRecord(path: string, text: string): void {
  try {
    const write = () => {
      const fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600);
      writeAll(fd, new TextEncoder().encode(text), path);
      close(fd);
    };
    try {
      write();
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      makeDirectory(directory, 0o700);
      write();
    }
  } catch (error) {
    // Where /run cannot be written, unreaped helpers go unnoticed: no reason to refuse a DEL.
    if (!(error instanceof SystemError)) throw error;
  }
}
