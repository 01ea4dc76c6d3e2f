// Uses etcd as the agent does, in whatever network namespace it is run: prints what came of it. Argument: the settings, JSON.
import { connect, keepAlive, reasonOf } from "../../cli/agent/etcd.ts";

let client: Awaited<ReturnType<typeof connect>> | undefined;
try {
  client = await connect(JSON.parse(process.argv[2]!));
  const { ID } = await client.leaseClient.leaseGrant({ TTL: 60 });
  await client.put("/tenon/k").value("v").lease(ID).exec();
  process.stdout.write(
    JSON.stringify({ value: await client.get("/tenon/k").string(), term: await keepAlive(client, `${ID}`) }),
  );
} catch (error) {
  process.stdout.write(JSON.stringify({ error: reasonOf(error) }));
} finally {
  client?.close();
}
process.exit();
