/** Queries as the text of an SQL file, which this script and the clients read back as they are. */
import { UsageError } from "../../command/errors.ts";
import { myglobals } from "../../myglobals.ts";
import { textWithValues } from "../../mysql/literal.ts";
import { describeUnit, nameOfQuery } from "../../shared/query.ts";
import { type FileQuery, Splitter } from "./splitter.ts";

/** Tried in this order, when a query holds a semicolon of its own. */
const delimiters = ["//", "$$", ";;", "%%", "@@", "&&", "||"];

/**
 * A query with its delimiter, and a comment that says which one it is.
 *
 * @throws UsageError for what no file can hold, such as a unit that is no SQL.
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
    throw new UsageError(`Cannot print ${name}, as SQL: it is none`);
  }
  const text = typeof sql === "string" ? sql : Buffer.from(sql).toString();
  try {
    return Buffer.from(textWithValues({ sql: text, values }, myglobals.config?.db?.timezone));
  } catch (error) {
    throw new UsageError(`Cannot print ${name}, as SQL: ${(error as Error).message}`);
  }
}

/** What may stand before and after a text, the simplest first: a comment at its end hides what is on the same line. */
function* frames(text: Buffer): Generator<[before: string, after: string]> {
  yield ["", ";\n"];
  yield ["", "\n;\n"];
  const free = delimiters.find((delimiter) => !text.includes(delimiter));
  if (free) yield [`DELIMITER ${free}\n`, `\n${free}\nDELIMITER ;\n`];
}

/** Whether it is the text, less what comes before the query. The dollar quotes of MySQL 9 are the server's to know. */
function isReadAs(file: Buffer, text: Buffer): boolean {
  if (text.includes(0) || text.includes("\r\n")) return false; // refused, and made LF
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
