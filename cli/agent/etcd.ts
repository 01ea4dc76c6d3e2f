// A client of etcd 3 for one session: it fails rather than wait, and whoever uses it begins anew with another one.
import { readFile } from "node:fs/promises";
import { Etcd3, type IKeyValue, type IOptions, isRecoverableError } from "etcd3";
import type { EtcdSettings } from "./settings.ts";

/** Milliseconds that one call may take. */
const PATIENCE = 5000;

/** Each host is asked once, in some order; the library would wait and ask again, for longer than a session is worth. */
function policies(hosts: number): NonNullable<IOptions["faultHandling"]> {
  const never = () => ({ dispose() {} });
  const make = (tries: number) => ({
    onSuccess: never,
    onFailure: never,
    async execute(body: (context: any, signal: any) => unknown) {
      for (let left = tries; ; ) {
        try {
          return await body({ signal: new AbortController().signal }, undefined);
        } catch (error) {
          if (--left <= 0 || !isRecoverableError(error as Error)) throw error;
        }
      }
    },
  });
  return { global: make(hosts) as any, host: () => make(1) as any };
}

/** A client; `close` it. Reads the files of the settings anew, as certificates and passwords change. */
export async function connect({ hosts, tls, user, passwordFile }: EtcdSettings): Promise<Etcd3> {
  const bytes = (file: string | undefined) => (file === undefined ? undefined : readFile(file));
  const [ca, key, cert] = await Promise.all([bytes(tls?.ca), bytes(tls?.key), bytes(tls?.cert)]);
  const password = passwordFile === undefined ? "" : (await readFile(passwordFile, "utf8")).trim();
  const scheme = tls ? "https://" : "";
  return new Etcd3({
    hosts: hosts.map((host) => (/^(https?:\/\/|unix:)/.test(host) ? host : `${scheme}${host}`)),
    faultHandling: policies(hosts.length),
    defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + PATIENCE }),
    ...(ca
      ? { credentials: { rootCertificate: ca, ...(key && cert ? { privateKey: key, certChain: cert } : {}) } }
      : {}),
    ...(tls?.serverName ? { grpcOptions: { "grpc.ssl_target_name_override": tls.serverName } } : {}),
    ...(user === undefined ? {} : { auth: { username: user, password } }),
  });
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
