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
    const ask = async (tls: EtcdSettings["tls"]) => {
      const given = JSON.stringify(settings({ hosts: ["127.0.0.1:2379"], tls }));
      const into = [`--net=/proc/${etcd.pid()}/ns/net`, "--", process.execPath];
      const { stdout } = await execa("nsenter", [
        ...into,
        join(import.meta.dir, "../../helpers/etcd-process.ts"),
        given,
      ]);
      return JSON.parse(stdout);
    };
    const known = { ca: file("ca.crt"), cert: file("node.crt"), key: file("node.key"), serverName: "etcd.test" };
    expect(await ask(known)).toEqual({ value: "v", term: 60 });
    expect(await ask({ ca: file("ca.crt"), serverName: "etcd.test" })).toHaveProperty("error");
    expect(await ask({ ...known, serverName: "other.test" })).toHaveProperty("error");
    expect(await ask({ ...known, ca: file("node.crt") })).toHaveProperty("error");
  } finally {
    await rm(dir, { recursive: true });
  }
});
