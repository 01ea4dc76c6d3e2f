import { expect, test } from "bun:test";
import { findAll } from "../../../cli/heal/found.ts";
import { makeNode } from "../../helpers/node.ts";

test("reservations are found by what is in them, of all networks; other files are none", async () => {
  await using node = await makeNode("found");
  const folder = `${node.dir}/networks`;
  await node.exec("bash", [
    "-ec",
    `mkdir -p ${folder}/one ${folder}/two; cd ${folder}
     printf 'c1\\r\\neth0' > one/10.1.0.2; printf 'c1\\r\\neth0' > one/fd00::2; printf 'c2\\n' > two/10.2.0.2
     printf 10.1.0.2 > one/last_reserved_ip.0; : > one/lock; : > one/10.1.0.9; : > stray`,
  ]);
  const found = [...(await findAll([folder, `${folder}/none`])).values()].filter(({ id }) =>
    /^(one|two)$/.test(id?.network ?? ""),
  );
  expect(found.map(({ label, addresses, linked }) => [label, addresses.sort(), linked])).toEqual([
    ["one/c1/eth0", ["10.1.0.2", "fd00::2"], false],
    ["two/c2/eth0", ["10.2.0.2"], false],
  ]);
});
