import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { readOptionFile } from "../lib/features/my-cnf/option-file.ts";
import { scaled } from "./soak.ts";

const directory = mkdtempSync(join(tmpdir(), "myscript-options-"));
after(() => rmSync(directory, { recursive: true }));

const groups = ["client", "client-server"];
const skip =
  spawnSync("my_print_defaults", ["--version"]).error === undefined
    ? false
    : "there is no my_print_defaults (package mariadb-client-core) to compare with";

test("readOptionFile() returns the options of the groups in the order of the file", () => {
  const path = write(
    "order.cnf",
    "[client]\nuser=a\n[mysql]\nuser=b\n[client-server]\nssl_ca = c\n[client]\nquick\nuser=d\n",
  );
  assert.deepEqual(readOptionFile(path, groups), [
    ["user", "a"],
    ["ssl_ca", "c"],
    ["quick", undefined],
    ["user", "d"],
  ]);
});

test("readOptionFile() reads quotes, escapes and comments as the clients do", { skip }, () => {
  assertSame(String.raw`
    # comment
    ; comment
    [ client]
    user = no
    [CLIENT ] text
    a = b # comment
    b = "a # b" # "c
    c = it's # no comment
    d = 'it\'s' # comment
    e = "a\"b"
    f = \b\t\n\r\s\\\"\'\x\
    g = "
    h = ""
    i = 'a"
    j =   "  a  "
    k =
    l
    m n = o p
    n"#o=p
    o = p = q
    p = a\#b
    q = "a\\"#b
    r = 'a' 'b'
    ! unknown
    !includefoo bar
    [mysqld]
    user = no
    []
    user = no
`);
  assertSame('[client]\r\nuser=a\r\n\v\fuser\f=\v"b c" \r\nuser=caf\u00e9 \u{1f511}\r\n[client]\n');
  assertSame("[client]\nuser=a\0b\n\0\nport=1");
});

test("readOptionFile() keeps the whole of a password that the clients cut off", () => {
  // The second byte of "à" is a space in latin1.
  assert.deepEqual(readOptionFile(write("space.cnf", "[client]\npassword=voilà\n"), groups), [["password", "voilà"]]);
});

test("readOptionFile() follows !include and !includedir as the clients do", { skip }, () => {
  const parts = join(directory, "parts");
  mkdirSync(join(parts, "empty"), { recursive: true });
  for (const name of ["z.cnf", "B.cnf", "a.b.cnf", ".cnf", "c.ini", "d.cnf.bak"]) {
    write(`parts/${name}`, `[client]\nuser=${name}\n`);
  }
  const inner = write("inner.cnf", `[client-server]\nport=2\n!include ${parts}/z.cnf\n`);
  assertSame(`[client]\nport=1\n!includedir ${parts}  \n! include\t${inner}\nport=3\n`);
  assertSame(`[client]\nport=1\n!include ${directory}/missing.cnf\n!includedir ${parts}/empty\nport=3\n`);
  assertSame(`[client]\n!includedir ${directory}/missing\n`);
  assertSame("[client]\n!include\nport=1\n");
});

test("readOptionFile() agrees with my_print_defaults on any file", { skip }, () => {
  const pieces = [
    "[client]",
    "[",
    "]",
    "#",
    ";",
    "=",
    "=",
    "'",
    '"',
    "\\",
    " ",
    "\t",
    "\r",
    "\v",
    "\0",
    "!",
    "user",
    "p_w",
    "é",
    "n",
  ];
  const line = fc
    .array(fc.constantFrom(...pieces), { maxLength: 12 })
    .map((all) => all.join(""))
    .filter((text) => !/^\s*=/.test(text)); // without a name, my_print_defaults reads beyond the line's memory
  const file = fc.array(fc.oneof(line, line, fc.constantFrom("[client]", "[mysqld]", "!include nowhere")), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(file, (lines) => assertSame(["[client]", ...lines, ""].join("\n"))),
    { numRuns: scaled(300, 100) },
  );
});

test("readOptionFile() returns options or one clear line of error for any bytes", () => {
  const path = join(directory, "bytes.cnf");
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), fc.string({ unit: "binary" })), (content) => {
      writeFileSync(path, content);
      attempt(path);
      writeFileSync(path, Buffer.concat([Buffer.from("[client]\n"), Buffer.from(content as string)]));
      attempt(path);
    }),
    { numRuns: scaled(1000, 100) },
  );
  const long = " ".repeat(300_000);
  assert.deepEqual(readOptionFile(write("long.cnf", `[client]\nuser=${long}a${long}b${long}\n`), groups), [
    ["user", `a${long}b`],
  ]);
});

test("readOptionFile() rejects a file that is no option file, in one line that quotes nothing of it", () => {
  const cases: [content: string, message: RegExp][] = [
    ["\uFEFF[client]\npassword=secret\n", /: a BOM, which no client takes, in line 1$/],
    ["password=secret\n", /: an option before the first \[group\] in line 1$/],
    ["[client]\n[secret\n", /: no "\]" in line 2$/],
    ["[client]\n\n!include\npassword=secret\n", /: !include without a path in line 3$/],
    [
      `[client]\npassword=secret\n!includedir ${directory}/missing\n`,
      /^Cannot read directory "[^"]*\/missing" of an option file$/,
    ],
  ];
  for (const [content, message] of cases) assert.match(attempt(write("bad.cnf", content)) ?? "", message);
  assert.match(
    attempt(join(directory, "missing.cnf")) ?? "",
    /^Cannot use option file ".*": no such file or directory$/,
  );
  assert.match(attempt(directory) ?? "", /^Cannot use option file ".*": illegal operation on a directory$/);
});

test("readOptionFile() refuses a file of more than 1 MB, and a device without an end", () => {
  const option = "[client]\nuser=a\n";
  const largest = write("large.cnf", option + "#".repeat(1024 * 1024 - option.length));
  assert.deepEqual(readOptionFile(largest, groups), [["user", "a"]]);
  truncateSync(largest, 2 ** 32);
  assert.match(attempt(largest) ?? "", /^Cannot use option file ".*large\.cnf": it is larger than 1 MB$/);
  assert.match(attempt("/dev/zero") ?? "", /^Cannot use option file "\/dev\/zero": it is larger than 1 MB$/);
});

test("readOptionFile() refuses a file that anyone may write to", () => {
  const open = write("open.cnf", "[client]\nhost=evil\n");
  chmodSync(open, 0o666);
  assert.match(attempt(open) ?? "", /open\.cnf": anyone may write to it; "chmod o-w" makes it safe$/);
  assert.match(attempt(write("including.cnf", `!include ${open}\n`)) ?? "", /open\.cnf": anyone may write to it/);
});

test("readOptionFile() ends when files include one another", () => {
  const one = join(directory, "one.cnf");
  const two = write("two.cnf", `!include ${one}\n`.repeat(10));
  write("one.cnf", `!include ${two}\n`.repeat(10));
  assert.match(attempt(one) ?? "", /: more than 10 files that include one another in line 1$/);
});

function write(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

/** Returns the message of the error, if any, and checks its form. */
function attempt(path: string): string | undefined {
  try {
    readOptionFile(path, groups);
    return undefined;
  } catch (error) {
    const { message } = error as Error;
    assert.match(message, /^Cannot (use option file|read directory) "[^\n]*$/);
    assert.doesNotMatch(message, /secret/);
    return message;
  }
}

function assertSame(content: string): void {
  const path = write("same.cnf", content);
  const { status, stdout } = spawnSync("my_print_defaults", [`--defaults-file=${path}`, ...groups], {
    encoding: "utf8",
  });
  const message = attempt(path);
  assert.equal(message === undefined, status === 0, message ?? "my_print_defaults fails, readOptionFile() does not");
  if (message !== undefined) return;
  const lines = readOptionFile(path, groups).map(
    ([name, value]) => `--${name}${value === undefined ? "" : `=${value}`}\n`,
  );
  assert.equal(lines.join(""), stdout);
}
