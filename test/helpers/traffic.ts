// Frames at a steady pace, and a count of what arrives: run as a process in a namespace, each bounded in time.
//
//   bun traffic.ts send ADDRESS BITS_PER_SECOND SECONDS    UDP, frames of 1514 bytes
//   bun traffic.ts count LINK WAIT_MS WINDOW_MS            prints bits a second that the link received in the window
//
// Counted are bytes of the link layer, from /proc/net/dev, which is the namespace's own wherever /sys was mounted.
import { readFileSync } from "node:fs";

const payload = 1472; // and 8 of UDP, 20 of IPv4, 14 of Ethernet

export const script = import.meta.path;

/** Many sockets, as each may have but a hundred frames under way: a shaper's queue must not run dry while we sleep. */
async function send(address: string, rate: number, seconds: number): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: 32 }, () => Bun.udpSocket({})));
  const frames = rate / 8 / 1514;
  const batch = Array.from({ length: 64 }, () => [new Uint8Array(payload), 9, address]).flat() as any[];
  const begin = performance.now();
  let sent = 0;
  let turn = 0;
  for (let now = 0; now < seconds * 1000; now = performance.now() - begin) {
    // After a pause of more than 50 ms what is due is forgotten: no flood.
    const due = Math.min(Math.floor((now / 1000) * frames) - sent, Math.ceil(frames / 20));
    for (let left = due; left > 0; left -= 64) {
      try {
        sockets[turn++ % sockets.length]!.sendMany(left < 64 ? batch.slice(0, 3 * left) : batch);
      } catch (error) {
        if ((error as { code?: string }).code !== "ENOBUFS") throw error; // the shaper's queue is full: what we are here for
      }
    }
    sent = Math.floor((now / 1000) * frames);
    await Bun.sleep(1);
  }
  for (const socket of sockets) socket.close();
}

function received(link: string): number {
  const line = readFileSync("/proc/self/net/dev", "utf8")
    .split("\n")
    .find((line) => line.trim().startsWith(`${link}:`));
  if (!line) throw new Error(`Cannot find link "${link}"`);
  return Number(line.split(":")[1]!.trim().split(/\s+/)[0]);
}

async function count(link: string, wait: number, window: number): Promise<number> {
  await Bun.sleep(wait);
  const [bytes, begin] = [received(link), performance.now()];
  await Bun.sleep(window);
  const [more, end] = [received(link), performance.now()];
  return Math.round(((more - bytes) * 8) / ((end - begin) / 1000));
}

if (import.meta.main) {
  const [verb, target, ...numbers] = process.argv.slice(2);
  const [first, second] = numbers.map(Number) as [number, number];
  if (verb === "send") await send(target!, first, second);
  else console.log(await count(target!, first, second));
}
