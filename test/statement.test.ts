import assert from "node:assert/strict";
import { test } from "node:test";
import { type Effect, keepsTransaction, onlyReads, sessionStatement, statementIn } from "../lib/mysql/statement.ts";

test("keepsTransaction() is true only for statements that can never commit", () => {
  const keep = [
    "SELECT 1",
    "\n\t insert into t values (1)",
    "# a comment\nUPDATE t SET v = 1",
    "-- a comment\n-- another\nDELETE FROM t",
    "--\nDELETE FROM t",
    "/* a * comment **/ /**/REPLACE t VALUES (1)",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    "DO ?",
  ];
  const others = [
    "",
    "CREATE TABLE a SELECT 1",
    "CALL p()",
    "SET AUTOCOMMIT = 1",
    "SELECTED",
    "/*M! SELECT */ COMMIT",
    "/*!50000 CREATE TABLE a (id INT) */",
    "/*M! DROP TABLE a */ SELECT 1",
    "/* a */ DROP TABLE b /* c */ SELECT 1",
    "# SELECT 1",
    "-- SELECT 1\r",
    "/* SELECT 1",
    "--SELECT 1\nSELECT 2",
    "ALTER TABLE a ADD b INT",
  ];
  for (const unit of keep) assert.equal(keepsTransaction(unit), true, JSON.stringify(unit));
  for (const unit of others) assert.equal(keepsTransaction(unit), false, JSON.stringify(unit));
});

test("keepsTransaction() is fast for a text that would match in many ways", () => {
  for (const part of ["/**/", "-- \n", "/* ", " ", "#\n", "/*\n*", "-- "]) {
    assert.equal(keepsTransaction(`${part.repeat(100_000)}x`), false);
  }
});

test("sessionStatement() names statements that affect only their own connection", () => {
  const cases: [sql: string, name: string | undefined][] = [
    ["BEGIN", "BEGIN"],
    ["begin not atomic select 1; end", undefined],
    ["/* a */ Start\n Transaction READ ONLY", "START TRANSACTION"],
    ["START REPLICA", undefined],
    ["COMMIT AND CHAIN", "COMMIT"],
    ["-- a\nROLLBACK TO a", "ROLLBACK TO"],
    ["release savepoint a", "RELEASE SAVEPOINT"],
    ["XA COMMIT 'a'", "XA COMMIT"],
    ["UNLOCK TABLES", "UNLOCK TABLES"],
    ["SELECT 1 FROM commit", undefined],
    ["SET autocommit = 0", "SET"],
    ["SET GLOBAL autocommit = 0", undefined],
  ];
  for (const [sql, name] of cases) {
    assert.equal(sessionStatement(sql)?.name, name, sql);
  }
});

/** Statements of the servers' manuals: their effect on a transaction, and the name that sessionStatement() returns. */
const statements: readonly (readonly [sql: string, transaction: Effect, session?: string])[] = [
  ["ALTER TABLE t ADD a INT", "commits"],
  ["ANALYZE NO_WRITE_TO_BINLOG TABLE t", "commits"],
  ["ANALYZE FORMAT=JSON SELECT 1", "stays"],
  ["BACKUP STAGE START", "mayCommit", "BACKUP STAGE"],
  ["BEGIN WORK", "commits", "BEGIN"],
  ["BEGIN NOT ATOMIC SELECT 1; COMMIT; END", "unsure"],
  ["BINLOG 'a'", "unsure", "BINLOG"],
  ["CALL p()", "unsure"],
  ["CHECK TABLE t", "commits"],
  ["COMMIT AND CHAIN", "commits", "COMMIT"],
  ["CREATE OR REPLACE TABLE t (a INT)", "commits"],
  ["CREATE OR REPLACE TEMPORARY TABLE t (a INT)", "stays", "CREATE OR REPLACE TEMPORARY TABLE"],
  ["CREATE TEMPORARY TABLE t SELECT 1", "stays", "CREATE TEMPORARY TABLE"],
  ["CREATE DEFINER = `a b`@`%` FUNCTION f() RETURNS INT BEGIN SET @a = 1; COMMIT; END", "commits"],
  ["CREATE TEMPORARY SEQUENCE s", "mayCommit", "CREATE TEMPORARY SEQUENCE"], // on MariaDB, whose manual does not tell
  ["CREATE UNIQUE INDEX i ON t (a)", "commits"],
  ["DEALLOCATE PREPARE s", "stays", "DEALLOCATE PREPARE"],
  ["DO GET_LOCK('a', 1)", "stays", "GET_LOCK()"],
  ["DO GET_LOCK('a', 1), RELEASE_LOCK('a')", "stays"],
  ["DROP TEMPORARY TABLE t", "stays", "DROP TEMPORARY TABLE"],
  ["DROP PREPARE s", "stays", "DROP PREPARE"],
  ["EXECUTE s USING @a", "unsure", "EXECUTE"],
  ["EXECUTE IMMEDIATE 'DROP TABLE `t`'", "commits"],
  ["EXECUTE IMMEDIATE 'SET @a = ''b'''", "stays", "SET"],
  ["EXECUTE IMMEDIATE CONCAT('CO', 'MMIT')", "unsure"],
  ["EXECUTE IMMEDIATE 'SELECT GET_LOCK(''a'', 0)'", "stays", "GET_LOCK()"],
  ["FLUSH PRIVILEGES", "commits"],
  ["FLUSH TABLES", "commits"],
  ["FLUSH TABLES WITH READ LOCK", "commits", "FLUSH TABLES WITH READ LOCK"],
  ["FLUSH LOCAL TABLES WITH READ LOCK", "commits", "FLUSH LOCAL TABLES WITH READ LOCK"],
  [
    "FLUSH NO_WRITE_TO_BINLOG TABLES t, `u v` WITH READ LOCK",
    "commits",
    "FLUSH NO_WRITE_TO_BINLOG TABLES WITH READ LOCK",
  ],
  ["FLUSH TABLES t FOR EXPORT", "commits", "FLUSH TABLES FOR EXPORT"],
  ["GRANT SELECT ON t TO u", "commits"],
  ["HANDLER t OPEN", "stays", "HANDLER"],
  ["IMPORT TABLE FROM 'a.sdi'", "commits"],
  ["INSERT INTO t VALUES ('; COMMIT')", "stays"],
  ["INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);", "stays"],
  ["INSERT INTO t VALUES (1); COMMIT", "unsure"],
  ["KILL QUERY 7", "stays"],
  ["LOCK TABLES t WRITE", "commits", "LOCK TABLES"],
  ["LOCK TABLE t READ", "commits", "LOCK TABLE"],
  ["LOCK INSTANCE FOR BACKUP", "mayCommit", "LOCK INSTANCE"],
  ["PREPARE s FROM 'SELECT 1'", "stays", "PREPARE"],
  ["PURGE BINARY LOGS TO 'a'", "stays"],
  ["RELEASE SAVEPOINT a", "stays", "RELEASE SAVEPOINT"],
  ["RENAME TABLE t TO u", "commits"],
  ["REVOKE ALL ON t FROM u", "commits"],
  ["ROLLBACK", "rollsBack", "ROLLBACK"],
  ["ROLLBACK WORK TO a", "rollsBackTo", "ROLLBACK WORK TO"],
  ["SAVEPOINT a", "stays", "SAVEPOINT"],
  ["SELECT GET_LOCK('a', 1) FROM t", "stays", "GET_LOCK()"],
  ["SELECT 'GET_LOCK(', is_get_lock FROM t", "stays"],
  ["SELECT RELEASE_ALL_LOCKS()", "stays", "RELEASE_LOCK()"],
  ["SET @a = 1", "stays", "SET"],
  ["SET a = 1", "stays", "SET"],
  ["SET AUTOCOMMIT = @b", "mayCommit", "SET"],
  ["SET @@session.autocommit = 1", "mayCommit", "SET"],
  ["SET @@session.`autocommit` = 1", "mayCommit", "SET"],
  ["SET @@`autocommit` = 1", "mayCommit", "SET"],
  ["SET CHARACTER SET utf8", "stays", "SET"],
  ["SET GLOBAL a = 1", "stays"],
  ["SET GLOBAL a = 1, b = (SELECT MAX(c) FROM d)", "stays"],
  ["SET GLOBAL a = 1, @x = 5", "stays", "SET"],
  ["SET GLOBAL a = 1, SESSION b = 2", "stays", "SET"],
  ["SET @@global.a = 1, @@persist.b = 1", "stays"],
  ["SET PERSIST_ONLY a = 1", "stays"],
  ["SET PASSWORD = 'a'", "commits"],
  ["SET DEFAULT ROLE r TO u", "mayCommit"],
  ["SET ROLE r", "stays", "SET"],
  ["SET STATEMENT a = 1 FOR SELECT 2", "stays"],
  ["SET STATEMENT a = 1 FOR DROP TABLE t", "commits"],
  ["SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "stays", "SET"],
  ["SET GLOBAL TRANSACTION READ ONLY", "stays"],
  ["START REPLICA", "mayCommit"],
  ["START TRANSACTION READ ONLY", "commits", "START TRANSACTION"],
  ["TRUNCATE t", "commits"],
  ["UNLOCK TABLES", "mayCommit", "UNLOCK TABLES"],
  ["USE `a`", "stays", "USE"],
  ["XA START 'a'", "stays", "XA"],
  ["XA PREPARE 'a'", "prepares", "XA PREPARE"],
  ["XA ROLLBACK 'a'", "rollsBack", "XA ROLLBACK"],
];

test("a statement is recognized after and inside comments of each kind", () => {
  const wraps: ((sql: string) => string)[] = [
    (sql) => sql,
    (sql) => `  \n${sql};`,
    (sql) => `-- a\n--\n${sql}`,
    (sql) => `# a ' b\n${sql} -- c`,
    (sql) => `/* a */ /*+ b */${sql}/* c; d */ ;`,
    (sql) => sql.replace(" ", " /* a */ -- b\n#c\n"),
    (sql) => `/*! ${sql} */`,
    (sql) => `/*!50001 ${sql} */;`,
    (sql) => `/*!40101${sql}*/`,
    (sql) => sql.replace(/ (\w+)/, " /*!32302 $1 */"),
    (sql) => sql.toLowerCase(),
  ];
  for (const [sql, transaction, session] of statements) {
    for (const wrap of wraps) {
      const text = wrap(sql);
      assert.deepEqual([statementIn(text).transaction, sessionStatement(text)?.name], [transaction, session], text);
    }
    // Only some servers execute these comments.
    for (const text of [`/*M!100100 ${sql} */`, `/*!80000 ${sql} */`, `/*M! ${sql} */`]) {
      const perhaps = transaction === "commits" ? "unsure" : transaction;
      assert.deepEqual([statementIn(text).transaction, sessionStatement(text)?.name], [perhaps, session], text);
    }
  }
});

test("a text of several statements can be repeated if each of them can, and may read variables that it sets itself", () => {
  assert.equal(sessionStatement("USE a; SET NAMES utf8; SET @a = 1;")?.session, "repeatable");
  assert.equal(sessionStatement("USE a; INSERT INTO t VALUES (1)")?.session, "lasting");
  for (const [text, name] of [
    ["INSERT INTO t VALUES (';'); USE other", "USE"],
    ["DELETE FROM t; CREATE TEMPORARY TABLE x (id INT)", "CREATE TEMPORARY TABLE"],
    ["SELECT 1; SET @a = 1; SET SESSION sql_mode = ''", "SET"],
    ["INSERT INTO t VALUES (1); LOCK TABLES t WRITE; COMMIT", "LOCK TABLES"],
    ["BEGIN NOT ATOMIC SELECT 1; SET NAMES utf8; END", "SET"],
    ["BEGIN NOT ATOMIC SET NAMES utf8; END", "SET"],
    ["a: BEGIN NOT ATOMIC BEGIN CREATE TEMPORARY TABLE x (id INT); END; END", "CREATE TEMPORARY TABLE"],
    ["IF @a THEN SELECT CASE WHEN 1 THEN 2 END; ELSE SET @b = 1, sql_mode = ''; END IF", "SET"],
    ["FOR i IN 1..2 DO DO 1; HANDLER t OPEN; END FOR", "HANDLER"],
    ["BEGIN NOT ATOMIC DECLARE a, `b` INT; SET a = 1, b = 2; SET c = 3; END", "SET"],
  ])
    assert.deepEqual(sessionStatement(text!), { name, session: "lasting" }, text);
  for (const text of [
    "DELETE FROM t; COMMIT",
    "BEGIN NOT ATOMIC DECLARE i, `n` INT DEFAULT 0; WHILE i < 9 DO DO 1; SET i = i + 1, N = 2, @a = 3; END WHILE; END",
    "DROP FUNCTION f; CREATE FUNCTION f() RETURNS INT BEGIN DECLARE a INT; SET a = 1; SET NAMES utf8; RETURN a; END",
  ])
    assert.equal(sessionStatement(text), undefined, text);
  assert.equal(sessionStatement("SET @a = 1, @b = 2; INSERT INTO t VALUES (@a)"), undefined);
  assert.equal(sessionStatement("SET @a = 1, b = 2; INSERT INTO t VALUES (@a)")?.session, "lasting");
});

test("onlyReads() is true for one statement that changes nothing", () => {
  for (const sql of [
    "SELECT ';'",
    "(SELECT 1) UNION (SELECT 2);",
    "/*!50001 SHOW TABLES */",
    "WITH a AS (SELECT 1) SELECT 2",
  ]) {
    assert.equal(onlyReads(sql), true, sql);
  }
  for (const sql of [
    "SELECT 1; DELETE FROM t",
    "WITH a AS (SELECT 1) DELETE FROM t",
    "DELETE FROM t",
    "CALL p()",
    "",
  ]) {
    assert.equal(onlyReads(sql), false, sql);
  }
});
