/** The lag of the members of a Group Replication. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { NamedServer } from "../lib/command/config.ts";
import { watchReplicas } from "../lib/features/lag/hook.ts";
import { runHere } from "./command.ts";
import { lacksGroup as skip, startGroup } from "./group.ts";
import { poll } from "./run.ts";
import type { TestServer } from "./server.ts";
import { silent } from "./watch.ts";

let members: readonly TestServer[] = [];
before(async () => {
  if (!skip) members = await startGroup(2);
});
after(() => Promise.all(members.map((member) => member.stop())));

test("--max-lag heeds the applier of a member of a group, and --replicas auto finds it", { skip }, async (t) => {
  const [primary, member] = members as readonly [TestServer, TestServer];
  const place = `127.0.0.1:${member.port}`;
  await primary.root.query("CREATE TABLE myscript.g (id INT PRIMARY KEY)");
  const at = ["-h", "127.0.0.1", "-P", `${primary.port}`, "-u", "root", "-D", "myscript", "--max-lag", "0.5"];
  const run = await runHere([...at, "--replicas", "auto", "-"], { input: "INSERT INTO g VALUES (0)" });
  assert.match(run.stderr, new RegExp(`^replicas: ${place}$`, "m"));
  assert.equal(run.status, 0);

  const account = { user: "root" };
  const servers = [{ db: { ...account, host: "127.0.0.1", port: primary.port } }];
  const server: NamedServer = {
    ...{ db: account, hosts: [], tlsOptional: false },
    others: (addresses) => ({
      db: account,
      hosts: addresses.map(({ host, port = 0 }) => ({ host, port })),
      tlsOptional: false,
    }),
  };
  const hook = await watchReplicas({ maxLag: 0.5, replicas: "auto" }, { server, servers, progress: silent });
  t.after(() => hook.close?.());
  const reason = () => hook.options!.gates![0]!.reason;
  assert.equal(reason(), undefined);
  await member.root.query("LOCK TABLES myscript.g READ");
  for (const id of [1, 2, 3]) await primary.root.query(`INSERT INTO myscript.g VALUES (${id})`);
  await poll(() =>
    new RegExp(`^paused: ${place} is [\\d.]+ s behind, with [123] transactions queued$`).test(reason() ?? ""),
  );
  await member.root.query("UNLOCK TABLES");
  await poll(() => reason() === undefined);
  await member.root.query("STOP GROUP_REPLICATION");
  await poll(() => reason() === `paused: ${place} does not replicate: its state in the group is OFFLINE`);
  await member.root.query("START GROUP_REPLICATION");
  await poll(() => reason() === undefined);
});

test("--max-lag says which GRANT shows the lag in a group", { skip }, async () => {
  const [primary, member] = members as readonly [TestServer, TestServer];
  await primary.root.query("CREATE USER watcher@'127.0.0.1'");
  await primary.root.query("GRANT REPLICATION CLIENT ON *.* TO watcher@'127.0.0.1'");
  await poll(async () => {
    const [rows] = await member.root.query("SHOW GRANTS FOR watcher@'127.0.0.1'").catch(() => [[]]);
    return /REPLICATION CLIENT/.test(JSON.stringify(rows));
  });
  const at = ["-h", "127.0.0.1", "-P", `${primary.port}`, "-u", "watcher", "--max-lag", "5"];
  const named = await runHere([...at, "--replicas", `127.0.0.1:${member.port}`, "-"], { input: "DO 1" });
  assert.match(named.stderr, /: GRANT SELECT ON performance_schema\.\* TO 'watcher'@'127\.0\.0\.1'$/m);
  const auto = await runHere([...at, "--replicas", "auto", "-"], { input: "DO 1" });
  assert.match(auto.stderr, /^myscript: --replicas auto: .*: GRANT REPLICATION SLAVE ON \*\.\* TO 'watcher'@/m);
  assert.deepEqual([named.status, auto.status], [2, 2]);
});
