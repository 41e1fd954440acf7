/** Writes queries as an SQL file that this script and the clients read back unchanged. */
import { UsageError } from "../../command/errors.ts";
import { myglobals } from "../../myglobals.ts";
import { textWithValues } from "../../mysql/literal.ts";
import { describeUnit, nameOfQuery } from "../../shared/query.ts";
import { type FileQuery, Splitter } from "./splitter.ts";

/** Delimiters for a query that contains a semicolon, in the order in which they are tried. */
const delimiters = ["//", "$$", ";;", "%%", "@@", "&&", "||"];

/**
 * Returns a query with its delimiter, after a comment with its name.
 *
 * @throws UsageError for a unit that an SQL file cannot hold, such as one that is not SQL.
 */
export function toSqlFile(seq: number, unit: unknown): Buffer {
  const { sql, values } = (typeof unit === "string" ? { sql: unit } : Object(unit)) as Record<string, unknown>;
  const name = nameOfQuery(seq, unit);
  const text = toBytes(sql, values, name);
  for (const [before, after] of frames(text)) {
    const file = Buffer.concat([Buffer.from(before), text, Buffer.from(after)]);
    if (isReadAs(file, text)) return Buffer.concat([Buffer.from(`-- ${name}\n`), file]);
  }
  throw new UsageError(`Cannot print ${name}, as SQL: no client would read it back as it is: ${describeUnit(unit)}`);
}

function toBytes(sql: unknown, values: unknown, name: string): Buffer {
  if (sql instanceof Uint8Array && values === undefined) return Buffer.from(sql);
  if (typeof sql !== "string" && !(sql instanceof Uint8Array)) {
    throw new UsageError(`Cannot print ${name}, as SQL: it is not SQL`);
  }
  const text = typeof sql === "string" ? sql : Buffer.from(sql).toString();
  try {
    return Buffer.from(textWithValues({ sql: text, values }, myglobals.config?.db?.timezone));
  } catch (error) {
    throw new UsageError(`Cannot print ${name}, as SQL: ${(error as Error).message}`);
  }
}

/** Yields texts to put before and after a query, the simplest first. A comment at the end of the query hides a `;` on the same line. */
function* frames(text: Buffer): Generator<[before: string, after: string]> {
  yield ["", ";\n"];
  yield ["", "\n;\n"];
  const free = delimiters.find((delimiter) => !text.includes(delimiter));
  if (free) yield [`DELIMITER ${free}\n`, `\n${free}\nDELIMITER ;\n`];
}

/**
 * Returns true if the file is read back as this one query, blanks and comments before it aside. One of two readings is enough, with
 * and without the dollar quotes of MySQL 9, because only the server knows which one is right.
 */
function isReadAs(file: Buffer, text: Buffer): boolean {
  if (text.includes(0) || text.includes("\r\n")) return false; // NUL is refused, and CR LF becomes LF
  return [false, true].some((dollarQuotes) => {
    try {
      const splitter = new Splitter("query");
      splitter.dollarQuotes = dollarQuotes;
      const queries: FileQuery[] = [];
      splitter.split(file, queries);
      splitter.end(queries);
      const [query, ...more] = queries;
      if (query === undefined || more.length > 0) return false;
      return text.toString("latin1").trimEnd().endsWith(Buffer.from(query.sql).toString("latin1"));
    } catch {
      return false;
    }
  });
}
