import { expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { connect, keepAlive, reasonOf } from "../../../cli/agent/etcd.ts";
import type { EtcdSettings } from "../../../cli/agent/settings.ts";
import { startEtcd } from "../../helpers/etcd.ts";

const settings = (more: Partial<EtcdSettings>) =>
  ({ type: "etcd", hosts: [], prefix: "/tenon", lease: 60, heartbeat: 1, ...more }) as EtcdSettings;

test("users have their passwords read from a file, and may do no more than their role", async () => {
  await using etcd = await startEtcd();
  const admin = etcd.client();
  await admin.role("root").create();
  await admin.user("root").create("secret");
  await admin.user("root").addRole("root");
  await admin.role("tenon").create();
  await admin.role("tenon").grant({ permission: "Readwrite", range: admin.range({ prefix: "/tenon/" }) });
  await admin.user("tenon").create("p w");
  await admin.user("tenon").addRole("tenon");
  await admin.auth.authEnable();
  const passwordFile = join(etcd.dir, "password");
  await writeFile(passwordFile, "p w\n");
  const client = await connect(settings({ hosts: [etcd.host], user: "tenon", passwordFile }));
  try {
    const { ID } = await client.leaseClient.leaseGrant({ TTL: 60 });
    await client.put("/tenon/a").value("1").lease(ID).exec();
    expect(await client.get("/tenon/a").string()).toBe("1");
    expect(await keepAlive(client, `${ID}`)).toBe(60);
    expect(await keepAlive(client, "12345")).toBe(0);
    const refused = await client
      .put("/other")
      .value("1")
      .exec()
      .then(() => "", reasonOf);
    expect(refused).toContain("permission denied");
  } finally {
    client.close();
  }
  await writeFile(passwordFile, "wrong");
  const wrong = await connect(settings({ hosts: [etcd.host], user: "tenon", passwordFile }));
  const why = await wrong
    .get("/tenon/a")
    .exec()
    .then(() => "", reasonOf);
  wrong.close();
  expect(why).toContain("authentication failed");
});

test("a host that is not there is passed over for one that is", async () => {
  await using etcd = await startEtcd();
  const client = await connect(settings({ hosts: ["unix:/nowhere/a", "unix:/nowhere/b", etcd.host] }));
  try {
    for (let at = 0; at < 6; at++) await client.put(`/tenon/${at}`).value("1").exec();
    expect((await client.getAll().prefix("/tenon/").keys()).length).toBe(6);
  } finally {
    client.close();
  }
});

/** Uses etcd from its own network namespace; what came of it. */
async function ask(pid: number, given: EtcdSettings) {
  const program = join(import.meta.dir, "../../helpers/etcd-process.ts");
  const into = [`--net=/proc/${pid}/ns/net`, "--", process.execPath];
  const { stdout } = await execa("nsenter", [...into, program, JSON.stringify(given)]);
  return JSON.parse(stdout);
}

test("hosts that swallow packets are passed over for one that answers, in calls and in streams", async () => {
  await using etcd = await startEtcd();
  const chain = "chain c { type filter hook input priority 0; ip daddr { 127.0.0.8, 127.0.0.9 } drop\n}";
  await execa("nsenter", [`--net=/proc/${etcd.pid()}/ns/net`, "nft", "-f", "-"], {
    input: `table ip t {\n${chain}\n}\n`,
  });
  const silent = ["127.0.0.8:2379", "127.0.0.9:2379"];
  const given = settings({ hosts: [...silent, "127.0.0.1:2379"] });
  const all = await Promise.all([1, 2, 3, 4].map(() => ask(etcd.pid(), given)));
  for (const one of all) expect(one).toEqual({ value: "v", term: 60 });
  expect((await ask(etcd.pid(), settings({ hosts: silent.slice(1) }))).error).toContain("Deadline exceeded");
}, 60_000);

test("the server and the node know each other by certificates", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tenon-tls-"));
  const make = (name: string, extra: string) => `
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${name}.key -subj /CN=${name} -out ${name}.csr
printf '%s' '${extra}' > ${name}.ext
openssl x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -days 2 -extfile ${name}.ext -out ${name}.crt`;
  try {
    await execa("bash", [
      "-ec",
      `cd ${dir}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -subj /CN=ca -days 2 -out ca.crt
${make("server", "subjectAltName=DNS:etcd.test")}
${make("node", "extendedKeyUsage=clientAuth")}`,
    ]);
    const file = (name: string) => join(dir, name);
    const flags = [`--cert-file=${file("server.crt")}`, `--key-file=${file("server.key")}`];
    await using etcd = await startEtcd({
      flags: [...flags, `--trusted-ca-file=${file("ca.crt")}`, "--client-cert-auth"],
    });
    const askWith = (tls: EtcdSettings["tls"]) => ask(etcd.pid(), settings({ hosts: ["127.0.0.1:2379"], tls }));
    const known = { ca: file("ca.crt"), cert: file("node.crt"), key: file("node.key"), serverName: "etcd.test" };
    expect(await askWith(known)).toEqual({ value: "v", term: 60 });
    expect(await askWith({ ca: file("ca.crt"), serverName: "etcd.test" })).toHaveProperty("error");
    expect(await askWith({ ...known, serverName: "other.test" })).toHaveProperty("error");
    expect(await askWith({ ...known, ca: file("node.crt") })).toHaveProperty("error");
  } finally {
    await rm(dir, { recursive: true });
  }
});
