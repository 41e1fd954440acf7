import assert from "node:assert/strict";
import { test } from "node:test";
import { keepsTransaction, sessionStatement } from "../lib/mysql/statement.ts";

test("keepsTransaction() is true of what can never commit, and of nothing else", () => {
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
    "/*! SELECT */ COMMIT",
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

test("keepsTransaction() comes to an end with a text that would match in many ways", () => {
  for (const part of ["/**/", "-- \n", "/* ", " ", "#\n", "/*\n*", "-- "]) {
    assert.equal(keepsTransaction(`${part.repeat(100_000)}x`), false);
  }
});

test("sessionStatement() names what means something to its connection only", () => {
  const cases: [sql: string, name: string | undefined][] = [
    ["BEGIN", "BEGIN"],
    ["begin not atomic select 1; end", undefined],
    ["/* a */ Start\n Transaction READ ONLY", "START TRANSACTION"],
    ["START REPLICA", undefined],
    ["COMMIT AND CHAIN", "COMMIT"],
    ["-- a\nROLLBACK TO a", "ROLLBACK"],
    ["release savepoint a", "RELEASE SAVEPOINT"],
    ["XA COMMIT 'a'", "XA"],
    ["UNLOCK TABLES", "UNLOCK TABLES"],
    ["SELECT 1 FROM commit", undefined],
    ["SET autocommit = 0", "SET"],
    ["SET GLOBAL autocommit = 0", undefined],
  ];
  for (const [sql, name] of cases) {
    assert.equal(sessionStatement(sql), name, sql);
  }
});
