// A client of etcd 3 for one session: it fails rather than wait, and whoever uses it begins anew with another one. It knows one
// host alone, which answered just now: the library takes hosts in turn for calls and streams, also one that says nothing.
import { readFile } from "node:fs/promises";
import { castGrpcError, Etcd3, type IKeyValue, type IOptions, isRecoverableError } from "etcd3";
import type { EtcdSettings } from "./settings.ts";

/** Milliseconds that one call may take. */
export const PATIENCE = 5000;
/** Milliseconds that a host may say nothing until the next one is asked as well. */
const HESITATION = 1000;

/** A call is made once; the library would wait and make it again, for longer than a session is worth. */
const once = {
  onSuccess: () => ({ dispose() {} }),
  onFailure: () => ({ dispose() {} }),
  execute: async (body: (context: any, signal: any) => unknown) =>
    await body({ signal: new AbortController().signal }, undefined),
} as any;

/** A client of a host that answers; `close` it. Reads the files of the settings anew, as certificates and passwords change. */
export async function connect(settings: EtcdSettings): Promise<Etcd3> {
  const { hosts, prefix, tls } = settings;
  const options = await optionsOf(settings);
  const scheme = tls ? "https://" : "";
  const urls = hosts.map((host) => (/^(https?:\/\/|unix:)/.test(host) ? host : `${scheme}${host}`));
  // Each node begins with another one.
  const first = Math.floor(Math.random() * urls.length);
  const asked: Promise<Etcd3>[] = [];
  let found: Etcd3 | undefined;
  for (const url of [...urls.slice(first), ...urls.slice(0, first)]) {
    const answer = answering(new Etcd3({ ...options, hosts: url }), prefix);
    asked.push(answer);
    const pause = Bun.sleep(HESITATION).then(() => undefined);
    found = await Promise.race([Promise.any(asked), answer, pause]).catch(() => undefined);
    if (found) break;
  }
  try {
    found ??= await Promise.any(asked);
  } catch (error) {
    const { errors } = error as AggregateError;
    throw new Error([...new Set(errors.map(reasonOf))].join("; "), { cause: error });
  }
  for (const one of asked) one.then((client) => client !== found && client.close()).catch(() => {}); // closed already
  return found;
}

async function optionsOf({ tls, user, passwordFile }: EtcdSettings): Promise<Omit<IOptions, "hosts">> {
  const bytes = (file: string | undefined) => (file === undefined ? undefined : readFile(file));
  const [ca, key, cert] = await Promise.all([bytes(tls?.ca), bytes(tls?.key), bytes(tls?.cert)]);
  const password = passwordFile === undefined ? "" : (await readFile(passwordFile, "utf8")).trim();
  return {
    faultHandling: { global: once, host: () => once },
    defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + PATIENCE }),
    ...(ca
      ? { credentials: { rootCertificate: ca, ...(key && cert ? { privateKey: key, certChain: cert } : {}) } }
      : {}),
    ...(tls?.serverName ? { grpcOptions: { "grpc.ssl_target_name_override": tls.serverName } } : {}),
    ...(user === undefined ? {} : { auth: { username: user, password } }),
  };
}

/** The client, when its host has answered what it can answer only with a majority of them; closed if it does not. */
async function answering(client: Etcd3, prefix: string): Promise<Etcd3> {
  try {
    await client.kv.range({ key: Buffer.from(prefix), count_only: true });
  } catch (error) {
    if (isRecoverableError(castGrpcError(error as Error))) {
      client.close();
      throw error;
    }
    // A refusal is an answer, too: whoever may not read this key may read those below it.
  }
  return client;
}

/** Keeps a lease for another term: seconds that it has now, 0 if it is gone. Costs etcd no write. */
export async function keepAlive(client: Etcd3, lease: string): Promise<number> {
  const stream = await client.leaseClient.leaseKeepAlive({ deadline: Date.now() + PATIENCE });
  try {
    return await new Promise<number>((resolve, reject) => {
      stream.on("data", ({ TTL }) => resolve(Number(TTL)));
      stream.on("error", reject); // stays: the end of the call is told by it too
      stream.on("end", () => reject(new Error("etcd ended the call")));
      stream.write({ ID: lease });
    });
  } finally {
    stream.end();
  }
}

/** How far changes were followed, and in which cluster. */
export interface Seen {
  cluster: string;
  revision: bigint;
}

/** Keys of one answer. Thousands at once would leave a heap that is large for good. */
const PAGE = 500;

/** Every key that begins with `prefix`, as all of them were at one moment; which moment that was. */
export async function listPages(client: Etcd3, prefix: string, each: (one: IKeyValue) => void): Promise<Seen> {
  const range_end = Buffer.from(prefix);
  range_end[range_end.length - 1]!++;
  let seen: Seen | undefined;
  for (let key = Buffer.from(prefix); ; ) {
    const { kvs, more, header } = await client.kv.range({
      key,
      range_end,
      limit: PAGE,
      revision: `${seen?.revision ?? 0}`,
    });
    seen ??= { cluster: `${header.cluster_id}`, revision: BigInt(header.revision) };
    for (const one of kvs) each(one);
    if (!more) return seen;
    key = Buffer.concat([kvs.at(-1)!.key, Buffer.alloc(1)]); // the next one after it
    Bun.gc(true);
  }
}

/** What went wrong, in few words. */
export function reasonOf(error: unknown): string {
  const { message } = error as Error;
  return message
    .replace(/^\d+ [A-Z_]+: /, "")
    .replace(/ Resolution note:.*$/s, "")
    .trim();
}
