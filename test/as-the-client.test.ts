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

/** What `mysqldump --no-autocommit --triggers --routines --events` of every server writes; MariaDB's began autocommit earlier. */
const saved = ["character_set_client", "character_set_results", "collation_connection", "sql_mode"];
const save = (version: string) => saved.map((name) => `/*!${version} SET @saved_${name} = @@${name} */ ;\n`).join("");
const restore = (version: string) => saved.map((name) => `/*!${version} SET ${name} = @saved_${name} */ ;\n`).join("");
const dumpedRows = (table: string, rows: string, isEarly: boolean) => `
${isEarly ? "set autocommit=0;" : ""}
LOCK TABLES \`${table}\` WRITE;
/*!40000 ALTER TABLE \`${table}\` DISABLE KEYS */;
${isEarly ? "" : "set autocommit=0;"}
${rows}
/*!40000 ALTER TABLE \`${table}\` ENABLE KEYS */;
UNLOCK TABLES;
commit;
`;
const dump = `${target.isMariaDB ? "/*M!999999\\- enable the sandbox mode */ \n" : ""}-- MySQL dump
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
${target.isMariaDB ? "/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;" : "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '';"}
DROP TABLE IF EXISTS \`l\`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!50503 SET character_set_client = utf8mb4 */;
CREATE TABLE \`l\` (\`n\` int DEFAULT NULL) ENGINE=MyISAM;
/*!40101 SET character_set_client = @saved_cs_client */;
${dumpedRows("l", "", false)}
CREATE TABLE \`t\` (\`id\` int NOT NULL AUTO_INCREMENT, \`s\` varchar(20), PRIMARY KEY (\`id\`)) ENGINE=InnoDB;
${dumpedRows("t", "INSERT INTO `t` VALUES (1,'a;b'),(2,'it\\'s');\nINSERT INTO `t` VALUES (3,'x@y.z');", false)}
CREATE TABLE \`u\` (\`id\` int NOT NULL, PRIMARY KEY (\`id\`)) ENGINE=InnoDB;
${dumpedRows("u", "INSERT INTO `u` VALUES (1),(2);", true)}
${save("50003")}
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=\`root\`@\`localhost\`*/ /*!50003 TRIGGER \`g\` AFTER INSERT ON \`t\` FOR EACH ROW BEGIN
  SET @n = NEW.id; INSERT INTO l VALUES (@n); END */;;
DELIMITER ;
${restore("50003")}
/*!50001 DROP VIEW IF EXISTS \`w\`*/;
/*!50001 CREATE VIEW \`w\` AS SELECT
 1 AS \`id\`*/;
${
  target.isMariaDB
    ? ""
    : `/*!50106 SET @save_time_zone= @@TIME_ZONE */ ;
DELIMITER ;;
/*!50106 CREATE*/ /*!50117 DEFINER=\`root\`@\`localhost\`*/ /*!50106 EVENT \`e\` ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1 */ ;;
DELIMITER ;
/*!50106 SET TIME_ZONE= @save_time_zone */ ;`
}
/*!50003 DROP PROCEDURE IF EXISTS \`p\` */;
${save("50003")}
DELIMITER ;;
CREATE DEFINER=\`root\`@\`localhost\` PROCEDURE \`p\`()
BEGIN SELECT 1; SELECT 2; END ;;
DELIMITER ;
${restore("50003")}
/*!50001 DROP VIEW IF EXISTS \`w\`*/;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=\`root\`@\`localhost\` SQL SECURITY DEFINER */
/*!50001 VIEW \`w\` AS select \`t\`.\`id\` AS \`id\` from \`t\` */;
/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
-- Dump completed
`;

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

cases.push(["a dump with --no-autocommit, triggers, views, routines and events", dump]);

/** Files in which a query fails: it is the last one that either runs. */
const failing: typeof cases = [
  [
    "a query that fails in a transaction",
    `
    CREATE TABLE h (id INT PRIMARY KEY);
    START TRANSACTION; INSERT INTO h VALUES (1); INSERT INTO h VALUES (1); COMMIT;
    INSERT INTO h VALUES (2);`,
  ],
  [
    "the same without autocommit, where it is the first one",
    `
    CREATE TABLE h (id INT PRIMARY KEY); INSERT INTO h VALUES (1); SET autocommit = 0;
    INSERT INTO h VALUES (1); INSERT INTO h VALUES (2); COMMIT;`,
  ],
  [
    "an import that is run again",
    `
    SET SQL_MODE = "NO_AUTO_VALUE_ON_ZERO"; START TRANSACTION; SET time_zone = "+00:00";
    CREATE TABLE pm (id INT NOT NULL, n INT); INSERT INTO pm VALUES (1, 10), (2, 20);
    ALTER TABLE pm ADD PRIMARY KEY (id); START TRANSACTION; INSERT INTO pm VALUES (3, 30);
    ALTER TABLE pm ADD PRIMARY KEY (id); INSERT INTO pm VALUES (4, 40); COMMIT;`,
  ],
  [
    "a failing statement in a comment that is executed, under autocommit = 0",
    `
    CREATE TABLE h (id INT PRIMARY KEY); SET autocommit = 0; INSERT INTO h VALUES (1);
    /*!50001 DROP VIEW missing */; INSERT INTO h VALUES (2); COMMIT;`,
  ],
];

for (const [index, [what, file]] of failing.entries()) {
  test(`a file ends where it ends for the client, and leaves the same: ${what}`, async () => {
    const path = join(directory, `failing-${index}.sql`);
    writeFileSync(path, file);
    for (const name of ["ours", "theirs"]) await sql(`CREATE DATABASE ${name}_failing_${index}`);
    const options = ["--json", "-S", socketPath, "-u", "root", "-D", `ours_failing_${index}`, "-j1", path];
    const { status, stdout } = await runHere(options);
    const { done, failed, unknown } = JSON.parse(stdout);
    assert.deepEqual([status, unknown], [1, 0], stdout);
    assert.ok(done > 0 && failed > 0);
    await assert.rejects(runClient(["-D", `theirs_failing_${index}`], file));
    assert.deepEqual(await contentOf(`ours_failing_${index}`), await contentOf(`theirs_failing_${index}`));
  });
}

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
    assert.equal(status, what.includes("rolled back") ? 1 : 0, stderr);
    const isSilent = stderr === "" || /^\d+ warnings? in /m.test(stderr); // a note may be lost behind other statements
    assert.ok(isSilent || status === 1, stderr);
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
