/** Compares readBatches() with the server's client. The general log of a sandbox shows the queries that the client sends. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import mysql from "mysql2/promise";
import { type Sandbox, startSandbox } from "../lib/features/sandbox/sandbox.ts";
import { type ReadOptions, readBatches } from "../lib/features/sql-files/input.ts";
import type { FileQuery } from "../lib/features/sql-files/splitter.ts";
import { sessionStatement } from "../lib/mysql/statement.ts";
import { scaled } from "./soak.ts";
import { target } from "./target.ts";

let sandbox: Sandbox;
let server: mysql.Connection;
let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "myscript-input-"));
  sandbox = await startSandbox({ orders: 0 });
  server = await mysql.createConnection({ ...sandbox.db });
  // MariaDB's sandbox has no system tables. This is MariaDB's definition of the log's table.
  if (target.isMariaDB) await server.query("CREATE DATABASE mysql");
  if (target.isMariaDB)
    await server.query(`CREATE TABLE mysql.general_log (
    event_time TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    user_host MEDIUMTEXT NOT NULL, thread_id BIGINT(21) UNSIGNED NOT NULL, server_id INTEGER UNSIGNED NOT NULL,
    command_type VARCHAR(64) NOT NULL, argument MEDIUMTEXT NOT NULL) ENGINE = CSV CHARACTER SET utf8mb4`);
  await server.query("SET GLOBAL log_output = 'TABLE', GLOBAL general_log = ON");
});

after(async () => {
  server?.destroy();
  await sandbox?.stop();
  await rm(directory, { recursive: true, force: true });
});

const split: [behaviour: string, text: string, queries: string[]][] = [
  [
    "splits at semicolons, the last one optional",
    "SELECT 1;SELECT 2 ;\n SELECT\n3",
    ["SELECT 1", "SELECT 2", "SELECT\n3"],
  ],
  ["keeps a semicolon inside quotes", "SELECT 'a;', \"b;\", `c;`;SELECT 2", ["SELECT 'a;', \"b;\", `c;`", "SELECT 2"]],
  ["keeps a doubled quote", `SELECT 'a'';', "b"";";SELECT 2`, [`SELECT 'a'';', "b"";"`, "SELECT 2"]],
  [
    "keeps an escaped quote",
    `SELECT 'a\\';', "b\\";", 'c\\\\';SELECT 2`,
    [`SELECT 'a\\';', "b\\";", 'c\\\\'`, "SELECT 2"],
  ],
  ["takes a backslash in backticks for itself", "SELECT 1 AS `a\\`;SELECT 2", ["SELECT 1 AS `a\\`", "SELECT 2"]],
  [
    "keeps a comment inside a query",
    "SELECT 1 -- ;'\n+ 2 # ;'\n+ /* ;' */ 3;SELECT 2",
    ["SELECT 1 -- ;'\n+ 2 # ;'\n+ /* ;' */ 3", "SELECT 2"],
  ],
  ["needs white space after -- in a query", "SELECT 1 --2;SELECT 3 --\n+ 1;", ["SELECT 1 --2", "SELECT 3 --\n+ 1"]],
  ["drops a comment -- before a query without white space", "--x;\nSELECT 1;--y;\n", ["SELECT 1"]],
  ["does not close a comment at /*/", "SELECT /*/;*/ 1;SELECT 2", ["SELECT /*/;*/ 1", "SELECT 2"]],
  ["drops empty queries and mere comments", ";;\n-- a\n;# b\n/* ; */;\n/* c */\nSELECT 1;\n-- d", ["SELECT 1"]],
  [
    "keeps comments that the server executes",
    "/*!50000 SELECT ';' */;/*M!100100 SELECT 2 */;",
    ["/*!50000 SELECT ';' */", "/*M!100100 SELECT 2 */"],
  ],
  ["keeps optimizer hints", "SELECT /*+ ; */ 1;", ["SELECT /*+ ; */ 1"]],
  [
    "carries out DELIMITER",
    "delimiter //\nSELECT 1;\nSELECT '//' // SELECT 2\n//\nDELIMITER ;\nSELECT 3;",
    ["SELECT 1;\nSELECT '//'", "SELECT 2", "SELECT 3"],
  ],
  [
    "leaves several statements in one query under another delimiter",
    "delimiter $$\ndrop procedure if exists a;\ncreate procedure a() begin select 1; end$$\ndelimiter ;\n",
    ["drop procedure if exists a;\ncreate procedure a() begin select 1; end"],
  ],
  [
    "carries out DELIMITER ;; and $$, with blanks and a comment",
    " DELIMITER ;; -- x\nSELECT 1; SELECT 2;;\nDELIMITER\t$$ \r\nSELECT 3;;$$",
    ["SELECT 1; SELECT 2", "SELECT 3;;"],
  ],
  ["keeps DELIMITER inside quotes", "SELECT '\nDELIMITER //\n';SELECT 2", ["SELECT '\nDELIMITER //\n'", "SELECT 2"]],
  [
    "keeps a column named delimiter",
    "SELECT a,\n  delimiter AS b;SELECT 2",
    ["SELECT a,\n  delimiter AS b", "SELECT 2"],
  ],
  [
    "ends a query at \\g and \\G, not at \\N",
    "SELECT 1\\g SELECT \\N\\GSELECT 3;\\g",
    ["SELECT 1", "SELECT \\N", "SELECT 3"],
  ],
  ["ends a line USE", "USE myscript\nSELECT 1;USE myscript;", ["USE myscript", "SELECT 1", "USE myscript"]],
  [
    "takes CRLF for LF, also in quotes",
    "SELECT\r\n'a\r\n\r\r\n\rb';\r\n-- a\r\nSELECT 2\r\n",
    ["SELECT\n'a\n\r\n\rb'", "SELECT 2"],
  ],
  ["drops a byte order mark and a DOS end of file", "\uFEFFSELECT 1;\r\n\x1A", ["SELECT 1"]],
  [
    "keeps what is not ASCII",
    "SELECT 'ä;日本', `😀;`;SELECT '\uFFFD' é",
    ["SELECT 'ä;日本', `😀;`", "SELECT '\uFFFD' é"],
  ],
  [
    "reads a dump of MariaDB",
    "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump\n/*!40101 SET NAMES utf8mb4 */;\nDELIMITER ;;\n" +
      "/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN\n" +
      "  SET NEW.a = 1;\nEND */;;\nDELIMITER ;\n",
    [
      "/*!40101 SET NAMES utf8mb4 */",
      "/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN\n" +
        "  SET NEW.a = 1;\nEND */",
    ],
  ],
];
for (const [behaviour, text, queries] of split) {
  const skip = !target.isMariaDB && text.includes("\\N") && "MySQL 8 does not know \\N, and logs no such text";
  test(`readBatches() ${behaviour}, like the client`, { skip }, async () => {
    assert.deepEqual(await read(text), { queries, error: "" });
    const [ours, theirs] = [withoutComments(queries), await clientQueries(Buffer.from(text))];
    // MySQL logs each statement of a text of several statements separately.
    if (target.isMariaDB) assert.deepEqual(ours, theirs);
    else assert.equal(ours.join(";"), theirs.join(";"));
  });
}

const refused: [behaviour: string, text: string | Buffer, error: string][] = [
  [
    "a quote that is not closed",
    "SELECT 1;\nSELECT\n'a;\n\n",
    "Cannot read stdin:3: the ' that opens here is not closed",
  ],
  [
    "a comment that is not closed",
    "SELECT 1;\nDELETE FROM a /* WHERE;",
    "Cannot read stdin:2: the /* that opens here is not closed",
  ],
  [
    "/*! inside a comment",
    "SELECT 1;/*\n/*! a */ DROP TABLE a; */",
    "Cannot read stdin:2: /*! inside a comment makes its end unclear",
  ],
  [
    "DELIMITER alone",
    "SELECT 1;\nDELIMITER\nSELECT 2",
    "Cannot read stdin:2: DELIMITER needs a line of its own, and one argument such as // or $$, without quotes",
  ],
  [
    "DELIMITER that opens a comment",
    "SELECT 1;\nDELIMITER --\n",
    "Cannot read stdin:2: DELIMITER -- looks like a comment: take another delimiter, such as // or $$",
  ],
  [
    "DELIMITER # behind a query with one",
    "DELIMITER //\nSELECT 1//\ndelimiter #x\nSELECT 2#x",
    "Cannot read stdin:3: delimiter #x looks like a comment: take another delimiter, such as // or $$",
  ],
  [
    "text after DELIMITER's argument",
    "SELECT 1;\nDELIMITER // SELECT 2//",
    "Cannot read stdin:2: DELIMITER needs a line of its own, and one argument such as // or $$, without quotes",
  ],
  [
    "DELIMITER behind a query",
    "SELECT 1; DELIMITER //\nSELECT 2//",
    "Cannot read stdin:1: DELIMITER needs a line of its own, and one argument such as // or $$, without quotes",
  ],
  [
    "DELIMITER inside a query",
    "SELECT 1;SELECT 2\nDELIMITER //\n",
    "Cannot read stdin:2: DELIMITER inside a query: the delimiter before it is missing",
  ],
  [
    "source",
    "SELECT 1;\n\nsource a.sql\nSELECT 2;",
    'Cannot read stdin:3: "source" is a command of the mariadb client, not SQL',
  ],
  ["\\c", "SELECT 1;SELECT 2\n\\c SELECT 3;", 'Cannot read stdin:2: "\\c" is a command of the mariadb client, not SQL'],
  [
    "a backslash at the end of a line",
    "SELECT 1;SELECT 2\\\n;",
    'Cannot read stdin:1: "\\" is a command of the mariadb client, not SQL',
  ],
  [
    "a NUL byte, as the client does",
    "SELECT 1;\nSELECT 2;DELETE FROM a \0\0;\nSELECT 3",
    "Cannot read stdin:2: a NUL byte, which is no SQL (the file is damaged, or UTF-16)",
  ],
  [
    "a NUL byte in quotes and comments",
    "SELECT 1;\n/* '\n\0'*/",
    "Cannot read stdin:3: a NUL byte, which is no SQL (the file is damaged, or UTF-16)",
  ],
];
for (const [behaviour, text, error] of refused) {
  test(`readBatches() refuses ${behaviour}, after the queries before it`, async () => {
    assert.deepEqual(await read(text), { queries: ["SELECT 1"], error });
  });
}

test("readBatches() reads files and standard input in order, and returns the place of each query", async () => {
  const [first, second] = [join(directory, "first.sql"), join(directory, "second.sql")];
  await writeFile(first, "-- a\n\nSELECT 1; SELECT\n2;\n/* b\n */ SELECT 3");
  await writeFile(second, "\nSELECT 'é\n';SELECT 6");
  assert.deepEqual(await collect(readQueries([first, "-", second], { stdin: chunksOf("\nSELECT 4\n;") })), [
    { sql: "SELECT 1", at: `${first}:3` },
    { sql: "SELECT\n2", at: `${first}:3` },
    { sql: "SELECT 3", at: `${first}:6` },
    { sql: "SELECT 4", at: "stdin:2" },
    { sql: "SELECT 'é\n'", at: `${second}:2` },
    { sql: "SELECT 6", at: `${second}:3` },
  ]);
});

test("readBatches() names a missing file or a directory before the first query", async () => {
  const missing = join(directory, "missing.sql");
  const reading = (file: string) => readQueries(["-", file], { stdin: chunksOf("SELECT 1;") }).next();
  await assert.rejects(reading(missing), { message: `Cannot read ${missing}: no such file or directory` });
  await assert.rejects(reading(directory), { message: `Cannot read ${directory}: it is a directory` });
});

for (const [behaviour, text] of [
  ["input", "SELECT 'a b';\n"],
  ["line", "SELECT 'a b';"],
] as const) {
  test(`readBatches() streams an endless ${behaviour}, and closes it`, async () => {
    let closed = false;
    const forEver = async function* () {
      try {
        for (;;) yield Buffer.from(text.repeat(1000));
      } finally {
        closed = true;
      }
    };
    let queries = 0;
    for await (const { sql } of readQueries(["-"], { stdin: forEver() })) {
      assert.equal(sql, "SELECT 'a b'");
      if (++queries === scaled(200_000, 20_000)) break;
    }
    assert.ok(closed);
  });
}

test("readBatches() reads a query of 20 MB", async () => {
  const sql = `INSERT INTO a VALUES ('${"é\\';".repeat(4_000_000)}')`;
  const { queries, error } = await read(`${sql};SELECT 2`, 65_536);
  assert.equal(error, "");
  assert.ok(queries[0] === sql); // assert.equal would print 20 MB
  assert.deepEqual(queries.slice(1), ["SELECT 2"]);
});

test("readBatches() can read two inputs at the same time", async () => {
  const [one, two] = ["SELECT 'a;'; SELECT 2; SELECT 3", "DELIMITER //\nSELECT `b`;// SELECT ';' //"];
  const readings = [one, two].map((text) => readQueries(["-"], { stdin: chunksOf(text) }));
  const queries: unknown[] = [];
  for (let turn = 0; turn < 6; turn++) queries.push(((await readings[turn % 2]!.next()).value as FileQuery)?.sql);
  assert.deepEqual(queries, ["SELECT 'a;'", "SELECT `b`;", "SELECT 2", "SELECT ';'", "SELECT 3", undefined]);
});

const tooLong = "Cannot read stdin:2: more than 512 MB without an end of the query";
const endless = [
  ["word", "ab"],
  ["query", "'a b',\n"],
  ["query of one line", "'a b', "],
] as const;
for (const [behaviour, text] of endless.slice(0, scaled(3, 1))) {
  test(`readBatches() refuses a ${behaviour} that no string can hold`, async () => {
    const chunk = Buffer.from(text.repeat(500_000)); // the same chunk again and again, which takes no memory
    const stdin = async function* () {
      yield Buffer.from("SELECT 1;\nSELECT ");
      for (;;) yield chunk;
    };
    assert.deepEqual(await readAll(readQueries(["-"], { stdin: stdin() })), { queries: ["SELECT 1"], error: tooLong });
  });
}

test("readBatches() names file and line when reading fails", async () => {
  const file = join(directory, "gone.sql");
  await writeFile(file, "SELECT 1");
  const reading = readQueries(["-", file], { stdin: chunksOf("SELECT 1;") });
  await reading.next();
  await rm(file);
  assert.equal((await readAll(reading)).error, `Cannot read ${file}:1: no such file or directory`);
  const stdin = async function* () {
    yield Buffer.from("SELECT 1;\nSELECT\n2");
    yield* createReadStream(directory);
  };
  const broken = await readAll(readQueries(["-"], { stdin: stdin() }));
  assert.deepEqual(broken, { queries: ["SELECT 1"], error: "Cannot read stdin:3: illegal operation on a directory" });
});

test("readBatches() drops the same characters as the client at the end of a query", async () => {
  const text = Buffer.from("SELECT 1 \x7f\x01;SELECT 2\xFF", "latin1");
  assert.deepEqual(await read(text), { queries: ["SELECT 1", "SELECT 2"], error: "" });
  assert.equal(await runClient(text), "1\n2\n");
});

test("readBatches() returns a query as bytes if it is not UTF-8, and as a string otherwise", async () => {
  const text = Buffer.from(
    "SELECT 'é';SELECT '\xE4', '\xC3\xA9';\nSELECT '\xC3'\r\n;SELECT 2; SELECT\n\n'\xFF",
    "latin1",
  );
  const { queries } = await read(Buffer.concat([text, Buffer.from("'\n\n")]), 7);
  assert.deepEqual(queries, [
    Buffer.from("SELECT '\xE9'", "latin1"),
    Buffer.from("SELECT '\xE4', '\xC3\xA9'", "latin1"),
    Buffer.from("SELECT '\xC3'", "latin1"),
    "SELECT 2",
    Buffer.from("SELECT\n\n'\xFF'", "latin1"),
  ]);
});

test("readBatches() treats line ends in quotes as the client does", async () => {
  const parts = fc.array(
    fc.constantFrom("\r", "\n", "\r\n", "\\\r\n", "\\\n", "\\\r", "''", "\\'", "a", " ", "é", "--"),
  );
  const literals = fc.array(parts, { minLength: 20, maxLength: 20 });
  const property = fc.asyncProperty(literals, async (all) => {
    const text = Buffer.from(all.map((literal) => `SELECT HEX('${literal.join("")}');\r\n`).join(""));
    const hex: string[] = [];
    for (const sql of (await read(text)).queries) {
      const [rows] = await server.query<mysql.RowDataPacket[]>({ sql: sql as string, rowsAsArray: true });
      hex.push(`${rows[0]![0]}\n`);
    }
    assert.equal(hex.join(""), await runClient(text));
  });
  await fc.assert(property, { numRuns: 30, interruptAfterTimeLimit: 5_000 });
});

// Verified with the client and the server of MySQL 9.7. The client knows dollar quotes from 8.0.32 on.
const dollarQuoted: [behaviour: string, text: string, queries: string[]][] = [
  [
    "keeps a semicolon in $$ and in $tag$",
    "CREATE FUNCTION a() RETURNS INT LANGUAGE JAVASCRIPT AS $$ let a = 1;\n-- '\n$ return a; $$;SELECT $a$;$$;$A$;$a$",
    [
      "CREATE FUNCTION a() RETURNS INT LANGUAGE JAVASCRIPT AS $$ let a = 1;\n-- '\n$ return a; $$",
      "SELECT $a$;$$;$A$;$a$",
    ],
  ],
  [
    "takes what an identifier, a number or a blank makes of it for none",
    "SELECT a$$;SELECT 1$$, $a b$;SELECT é$$;SELECT '$$', `$$`, \"$$\";SELECT /* $$ */ 1 -- $$\n;SELECT 2",
    [
      "SELECT a$$",
      "SELECT 1$$, $a b$",
      "SELECT é$$",
      "SELECT '$$', `$$`, \"$$\"",
      "SELECT /* $$ */ 1 -- $$",
      "SELECT 2",
    ],
  ],
  ["knows tags of any word", "SELECT $é1_$;$$;$é1_$;SELECT $1$;$1$", ["SELECT $é1_$;$$;$é1_$", "SELECT $1$;$1$"]],
  ["escapes the end of one", "SELECT $$\\$$;$$;SELECT 2", ["SELECT $$\\$$;$$", "SELECT 2"]],
  ["prefers the delimiter $$", "DELIMITER $$\nSELECT $a$ $$ $a$;$$ SELECT 2$$", ["SELECT $a$ $$ $a$;", "SELECT 2"]],
];
for (const [behaviour, text, queries] of dollarQuoted) {
  test(`readBatches() ${behaviour} when the server has dollar quotes, like its client`, async () => {
    const reading = readQueries(["-"], { stdin: chunksOf(text), dollarQuotes: async () => true });
    assert.deepEqual(await readAll(reading), { queries, error: "" });
  });
}

test("readBatches() asks the server once for dollar quotes, at the first dollar", async () => {
  const file = join(directory, "dollar.sql");
  await writeFile(file, "SELECT $$;\nSELECT 2$$");
  for (const has of [true, false]) {
    let asked = 0;
    const dollarQuotes = () => {
      asked++;
      return has;
    };
    const reading = readQueries(["-", file, file], { stdin: chunksOf("SELECT 1;"), dollarQuotes });
    assert.equal((await reading.next()).value?.sql, "SELECT 1");
    assert.equal(asked, 0);
    const { queries } = await readAll(reading);
    const each = has ? ["SELECT $$;\nSELECT 2$$"] : ["SELECT $$", "SELECT 2$$"];
    assert.deepEqual(queries, [...each, ...each]);
    assert.equal(asked, 1);
  }
});

test("readBatches() refuses a dollar quote without an end", async () => {
  const reading = readQueries(["-"], { stdin: chunksOf("SELECT 1;\nSELECT $a$ $$;"), dollarQuotes: () => true });
  const error = "Cannot read stdin:2: the $a$ that opens here is not closed";
  assert.deepEqual(await readAll(reading), { queries: ["SELECT 1"], error });
});

const fragment = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.constantFrom(
      ..."SELECT 1|a|BEGIN|END|-|--|/|*|*/|\xC3\xA9|\xE6\x97\xA5\xE6\x9C\xAC| |\t|\n|\r\n|;|;;|//|$$|\\g|\\G|\\N|-- |-- ;'\n|#;\"\n".split(
        "|",
      ),
      ..."'a;b'|\"a;b\"|`a;b`|'it''s'|'a\\'b'|'\\\\'|'\n'|'\\\n'|/* ; */|/* ' */|/*\n*/|/*+ ; */".split("|"),
      ..."/*!50000 1 */|/*! 1; */|/*M!100100 + 1 */".split("|"),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom("\xE4", "'\xFF;'", "\xFF", "\x7F", "\xBF\\", "'\xE4\\';'", "`\xC3`", "-- \xE4;\n"),
  },
  { weight: 1, arbitrary: fc.constantFrom(..."'|\"|`|/*|\\|--x|go|delimiter|\nDELIMITER //\n|\0".split("|")) },
);
const body = fc.array(fragment, { maxLength: 12 }).map((parts) => parts.join(""));
const blocks = fc.array(fc.tuple(fc.constantFrom(";", ";;", "//", "$$", "end"), body), { minLength: 1, maxLength: 4 });
const texts = blocks.map((all) =>
  Buffer.from(all.map(([end, text]) => `DELIMITER ${end}\n${text}\n${end}\n`).join(""), "latin1"),
);

const noLog = !target.isMariaDB && "MySQL logs no text of several statements as it was sent, nor what it cannot parse";
test("readBatches() ends queries where the client does, up to the first refused text", { skip: noLog }, async () => {
  const property = fc.asyncProperty(texts, async (text) => {
    const { queries, error } = await read(text);
    const [ours, theirs] = [withoutComments(queries), await clientQueries(text)];
    const isOursAlone = error !== "" && !error.includes("NUL");
    assert.deepEqual(ours, isOursAlone ? theirs.slice(0, ours.length) : theirs);
  });
  await fc.assert(property, { numRuns: scaled(500, 120), interruptAfterTimeLimit: scaled(20_000, 8_000) });
});

test("readBatches() returns the same queries with chunks of any size", async () => {
  const bytes = fc
    .array(fc.oneof(texts, fc.constantFrom(Buffer.from([0xff]), Buffer.from([0xc3]))), {
      maxLength: 3,
    })
    .map((all) => Buffer.concat(all));
  const property = fc.asyncProperty(
    bytes,
    fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
    async (text, sizes) => {
      const whole = await read(text);
      assert.match(whole.error, /^(?:Cannot read stdin:\d+: .+)?$/);
      assert.deepEqual(await read(text, ...sizes), whole);
    },
  );
  await fc.assert(property, { numRuns: 500, interruptAfterTimeLimit: 5_000 });
});

test("readBatches() names the line on which a query begins", async () => {
  const property = fc.asyncProperty(texts, async (text) => {
    const lines = text.toString("latin1").split("\n");
    try {
      for await (const { sql, at } of readQueries(["-"], { stdin: chunksOf(text) })) {
        const [first] = bytesOf(sql).split("\n");
        assert.ok(lines[Number(at.split(":")[1]) - 1]!.includes(first!.trimEnd()), `${at}: ${sql}`);
      }
    } catch (error) {
      assert.match((error as Error).message, /^Cannot read/);
    }
  });
  await fc.assert(property, { numRuns: 500, interruptAfterTimeLimit: 5_000 });
});

test("sessionStatement() names statements that affect only their own connection", () => {
  const named = {
    USE: ["use a", "USE`a`"],
    SET: ["SET @a = 1", "set names utf8mb4", "SET SESSION sql_mode = ''", "/*!40101 SET NAMES utf8 */", "SET @@a = 1"],
    BEGIN: ["begin", "BEGIN WORK"],
    "START TRANSACTION": ["start\n transaction READ ONLY"],
    COMMIT: ["COMMIT"],
    "ROLLBACK TO": ["ROLLBACK TO a"],
    SAVEPOINT: ["SAVEPOINT a"],
    "RELEASE SAVEPOINT": ["RELEASE SAVEPOINT a"],
    XA: ["XA START 'a'"],
    "LOCK TABLES": ["LOCK TABLES a WRITE"],
    "UNLOCK TABLES": ["unlock tables"],
    "CREATE TEMPORARY TABLE": ["CREATE TEMPORARY TABLE a (b INT)"],
    "CREATE OR REPLACE TEMPORARY TABLE": ["CREATE OR REPLACE TEMPORARY TABLE a (b INT)"],
    "DROP TEMPORARY TABLE": ["DROP TEMPORARY TABLE a"],
    PREPARE: ["PREPARE a FROM 'SELECT 1'"],
    EXECUTE: ["EXECUTE a"],
    "DEALLOCATE PREPARE": ["DEALLOCATE PREPARE a"],
    HANDLER: ["HANDLER a OPEN"],
    "FLUSH TABLES WITH READ LOCK": ["FLUSH TABLES WITH READ LOCK"],
  };
  for (const [words, statements] of Object.entries(named)) {
    for (const sql of statements) assert.equal(sessionStatement(sql)?.name, words, sql);
  }
  const other = [
    ...[
      "SELECT 1",
      "UPDATE a SET b = 1",
      "SET GLOBAL a = 1",
      "SET PERSIST a = 1",
      "SET @@global.a = 1",
      "SET PASSWORD = ''",
    ],
    ...[
      "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
      "BEGIN NOT ATOMIC SELECT 1; END",
      "START SLAVE",
      "FLUSH TABLES",
    ],
    ...[
      "EXECUTE IMMEDIATE 'SELECT 1'",
      "CREATE TABLE a (b INT)",
      "DROP TABLE a",
      "USER",
      "/*!40000 ALTER TABLE a */",
      "",
    ],
  ];
  for (const sql of other) assert.equal(sessionStatement(sql), undefined, sql);
});

async function read(
  text: string | Buffer,
  ...sizes: number[]
): Promise<{ queries: FileQuery["sql"][]; error: string }> {
  return readAll(readQueries(["-"], { stdin: chunksOf(text, ...sizes) }));
}

async function readAll(reading: AsyncIterable<FileQuery>): Promise<{ queries: FileQuery["sql"][]; error: string }> {
  const queries: FileQuery["sql"][] = [];
  try {
    for await (const { sql } of reading) queries.push(sql);
    return { queries, error: "" };
  } catch (error) {
    return { queries, error: (error as Error).message };
  }
}

/** Yields the text in chunks of these sizes, in turn. */
async function* chunksOf(text: string | Buffer, ...sizes: number[]): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text as string);
  for (let start = 0, turn = 0; start < bytes.length; turn++) {
    const end = start + (sizes[turn % sizes.length] ?? bytes.length);
    yield bytes.subarray(start, end);
    start = end;
  }
}

/** Returns the queries that the client sends, in the form of `comparable()`. */
async function clientQueries(text: Buffer): Promise<string[]> {
  await server.query("TRUNCATE mysql.general_log");
  await runClient(text, "--force");
  const [log] = await server.query<mysql.RowDataPacket[]>(
    `SELECT command_type AS type, argument FROM mysql.general_log
      WHERE thread_id <> CONNECTION_ID() AND command_type IN ('Connect', 'Query', 'Init DB')`,
  );
  assert.equal(log[0]?.type, "Connect");
  // The client sends COM_INIT_DB for USE.
  const queries = log.slice(1).map(({ type, argument }) => (type === "Query" ? String(argument) : `USE ${argument}`));
  // The log has bytes that are not UTF-8 as \xE4.
  const byByte = queries.filter((sql) => !asked.has(sql)).map(bytesOf);
  return comparable(
    byByte.map((sql) => sql.replace(/\\x([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))),
  ).map((sql) => sql.replace("/*M!999999enablethesandboxmode*/", ""));
}

/** Queries that the clients send by themselves. */
const asked = new Set(["SELECT DATABASE()", "select @@version_comment limit 1", "select $$"]);

/** Runs the client on this input and returns its output without column names. */
async function runClient(input: Buffer, ...options: string[]): Promise<string> {
  const { socketPath, user, database } = sandbox.db;
  const all = [...target.clientArgs, `--socket=${socketPath}`, `--user=${user}`, "-N"];
  if (!target.isMariaDB) all.push("--skip-comments", "--commands"); // the defaults of MariaDB's client
  const client = spawn(target.client, [...all, ...options, database], { stdio: ["pipe", "pipe", "ignore"] });
  client.stdin.on("error", () => {}); // EPIPE: the client stops reading at a NUL byte
  client.stdin.end(input);
  let output = "";
  client.stdout.setEncoding("latin1").on("data", (text) => {
    output += text;
  });
  await once(client, "close"); // rejects if the client is not installed
  return output;
}

/** Returns the query as a string with one character for each byte. */
function bytesOf(sql: FileQuery["sql"]): string {
  return Buffer.from(sql as string).toString("latin1");
}

/** Removes the text that the client drops: comments, and in ' and " a backslash at the end of a line. */
function withoutComments(queries: FileQuery["sql"][]): string[] {
  const comment = target.isMariaDB ? /\/\*(?!M?!).*?\*\// : /\/\*(?![!+]).*?\*\//; // MySQL's client keeps optimizer hints
  const quote = /('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`)|(?:--(?=\s)|#)[^\n]*/;
  const quoteOrComment = new RegExp(`${quote.source}|${comment.source}`, "gs");
  const bare = queries.map((sql) =>
    bytesOf(sql).replace(quoteOrComment, (_, quote = "") =>
      quote.startsWith("`") ? quote : quote.replace(/(\\\\)|\\(?=\r?\n)/g, "$1"),
    ),
  );
  return comparable(bare);
}

/** Removes white space, which the client changes in part, and the characters that are dropped at the end of a query. */
function comparable(queries: string[]): string[] {
  return queries.map((sql) => sql.replace(/\s+/g, "").replace(/[-;\x7f\xff]+$/, "")).filter((sql) => sql !== "");
}

async function collect(queries: AsyncIterable<FileQuery>): Promise<FileQuery[]> {
  const all: FileQuery[] = [];
  for await (const query of queries) all.push(query);
  return all;
}

async function* readQueries(files: readonly string[], options?: ReadOptions): AsyncGenerator<FileQuery> {
  for await (const batch of readBatches(files, options)) yield* batch;
}
