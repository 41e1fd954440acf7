/** What a file does to a database is what it does when the server's own client runs it. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { RowDataPacket } from "mysql2";
import { runHere } from "./command.ts";
import { startServer } from "./server.ts";
import { target } from "./target.ts";

const server = await startServer();
const { socketPath } = server;
const directory = mkdtempSync(join(tmpdir(), "myscript-client-"));
after(() => {
  rmSync(directory, { recursive: true });
  return server.stop();
});

const latin1 = (text: string) => Buffer.from(text, "latin1");
const cases: [what: string, sql: string | Uint8Array][] = [
  [
    "the collation of variables, literals and what is made of them",
    `
    CREATE TABLE p (name VARCHAR(20) PRIMARY KEY, hits INT DEFAULT 0) DEFAULT CHARSET = utf8mb4;
    INSERT INTO p (name) VALUES ('anna');
    SET @who = 'anna';
    UPDATE p SET hits = hits + 1 WHERE name = @who;
    CREATE TABLE made AS SELECT 'a' AS c, CONCAT('x', 1) AS d;`,
  ],
  [
    "names that are functions, in statements and in what is stored",
    `
    CREATE TABLE count (i INT);
    CREATE TABLE sum (a INT);
    CREATE VIEW max (x) AS SELECT 1;
    CREATE PROCEDURE p() SELECT 1;`,
  ],
  [
    "ROW_COUNT() of changed rows",
    `
    CREATE TABLE acc (id INT PRIMARY KEY, v INT);
    INSERT INTO acc VALUES (1, 5), (2, 7);
    CREATE TABLE log (n INT);
    UPDATE acc SET v = 5 WHERE id = 1;
    INSERT INTO log VALUES (ROW_COUNT());
    UPDATE acc SET v = 5;
    INSERT INTO log VALUES (ROW_COUNT());`,
  ],
  [
    "ROW_COUNT() in a procedure",
    `
    CREATE TABLE job (id INT PRIMARY KEY, grp INT, done INT NOT NULL DEFAULT 0);
    INSERT INTO job VALUES (1, 1, 0), (2, 1, 0), (3, 2, 0);
    CREATE TABLE rounds (n INT);
DELIMITER //
    CREATE PROCEDURE finish() BEGIN DECLARE k INT DEFAULT 0;
      REPEAT SET k = k + 1; UPDATE job SET done = 1 WHERE grp = 1; UNTIL ROW_COUNT() = 0 OR k >= 40 END REPEAT;
      INSERT INTO rounds VALUES (k); END//
DELIMITER ;
    CALL finish();`,
  ],
  ["line ends CR LF", "CREATE TABLE q (s VARCHAR(9));\r\nINSERT INTO q VALUES ('a\r\nb');\r\n"],
  [
    "several statements under another delimiter",
    `
    CREATE TABLE q (n INT);
DELIMITER $$
    DROP PROCEDURE IF EXISTS pq;
    CREATE PROCEDURE pq() BEGIN INSERT INTO q VALUES (1); END$$
DELIMITER ;
    CALL pq();`,
  ],
  [
    "a quote in another character set",
    Buffer.concat([
      Buffer.from(`
    CREATE TABLE t1 (id INT, s VARCHAR(40) CHARACTER SET utf8mb4);
    INSERT INTO t1 VALUES (1, 'a'), (2, 'b');
    SET NAMES latin1;
    DELETE FROM t1 WHERE s = 'ħ' OR 1 = 1 -- x';`),
    ]),
  ],
  [
    "a dump that was encoded twice",
    `
    CREATE TABLE t1 (id INT, s VARCHAR(40) CHARACTER SET latin1);
    /*!40101 SET NAMES latin1 */;
    INSERT INTO t1 VALUES (1, '日本'), (2, 'é'), (3, 'żół'), (4, '5 €');`,
  ],
  [
    "text and BLOBs that are not UTF-8",
    Buffer.concat([
      Buffer.from(`
    CREATE TABLE t1 (s VARCHAR(40) CHARACTER SET utf8mb4, b BLOB);
    SET NAMES latin1;
    INSERT INTO t1 VALUES ('`),
      latin1("caf\xe9 \xdf"),
      Buffer.from(`', '`),
      latin1("\xff\xfe\x80\\0\\n"),
      Buffer.from(`');`),
    ]),
  ],
  [
    "SET NAMES dec8, binary and cp1251",
    Buffer.concat([
      Buffer.from(`
    CREATE TABLE t1 (s VARCHAR(40) CHARACTER SET utf8mb4);
    SET NAMES dec8; INSERT INTO t1 VALUES ('`),
      latin1("\xe4"),
      Buffer.from(`');
    SET NAMES cp1251; INSERT INTO t1 VALUES ('`),
      latin1("\xc4\xe0"),
      Buffer.from(`');
    SET NAMES binary; INSERT INTO t1 VALUES ('ä');
    SET character_set_client = latin1; INSERT INTO t1 VALUES ('ä');`),
    ]),
  ],
  [
    "a transaction, savepoints and what is rolled back",
    `
    CREATE TABLE r (id INT PRIMARY KEY) ENGINE = InnoDB;
    BEGIN; INSERT INTO r VALUES (1); SAVEPOINT a; INSERT INTO r VALUES (2); ROLLBACK TO a; INSERT INTO r VALUES (3); COMMIT;
    START TRANSACTION; INSERT INTO r VALUES (4); ROLLBACK;
    SET autocommit = 0; INSERT INTO r VALUES (5); COMMIT;`,
  ],
  [
    "NO_BACKSLASH_ESCAPES and ANSI_QUOTES",
    String.raw`
    CREATE TABLE q (s VARCHAR(20));
    SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';
    INSERT INTO "q" VALUES ('a\b'), ('\\');`,
  ],
];

for (const [index, [what, file]] of cases.entries()) {
  test(`a file means what it means to the client: ${what}`, async () => {
    const path = join(directory, `${index}.sql`);
    writeFileSync(path, file);
    for (const name of ["ours", "theirs"]) await sql(`CREATE DATABASE ${name}_${index}`);
    const { status, stderr } = await runHere([
      "-q",
      "-S",
      socketPath,
      "-u",
      "root",
      "-D",
      `ours_${index}`,
      "-j1",
      path,
    ]);
    assert.deepEqual([status, what.includes("rolled back") ? "" : stderr], [what.includes("rolled back") ? 1 : 0, ""]);
    await runClient(["-D", `theirs_${index}`], file);
    const theirs = await contentOf(`theirs_${index}`);
    assert.notEqual(theirs.length, 0);
    assert.deepEqual(await contentOf(`ours_${index}`), theirs);
  });
}

async function sql(text: string): Promise<Record<string, string>[]> {
  return (await server.root.query<RowDataPacket[]>(text))[0];
}

/** Runs the server's client; an error ends it, as it does without --force. */
function runClient(args: readonly string[], input: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile(target.client, [...target.clientArgs, "-S", socketPath, "-u", "root", ...args], (error) =>
      error ? reject(error) : resolve(),
    );
    child.stdin!.end(input);
  });
}

/** How every table, view and routine of a database was made, and all rows. */
async function contentOf(name: string): Promise<unknown[]> {
  const content: unknown[] = await sql(`
    SELECT routine_name, routine_definition, sql_mode, character_set_client, collation_connection
    FROM information_schema.routines WHERE routine_schema = '${name}'`);
  const tables = await sql(
    `SELECT table_name AS t FROM information_schema.tables WHERE table_schema = '${name}' ORDER BY 1`,
  );
  for (const { t } of tables) {
    const created = await sql(`SHOW CREATE TABLE ${name}.\`${t}\``);
    content.push(JSON.parse(JSON.stringify(created).replaceAll(name, "it")));
    content.push(await sql(`SELECT * FROM ${name}.\`${t}\``));
  }
  return content;
}
