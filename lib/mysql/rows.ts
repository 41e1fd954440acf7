/** Rows as NDJSON: `{"seq":12,"row":{"id":1,"name":"a"}}`, exact, encoded in the workers. */
import mysql, { type ConnectionOptions, type FieldPacket } from "mysql2";

const { Types } = mysql;

/** What a connection's configuration must say for values to come as the server prints them. */
export const exactValues: ConnectionOptions = { decimalNumbers: false, nestTables: false, typeCast: true };

/** A column as mysql2 describes it, beyond what its types tell. It reads each value as this says. */
interface Column {
  readonly name: string;
  columnType: number;
  characterSet: number;
  encoding: string;
  extendedFormat?: string | undefined;
}

/**
 * Makes the function that encodes the rows of one result; to be called before the first of them is read.
 *
 * DECIMAL, a BIGINT beyond a double, dates and times are strings, BLOB and BIT are base64, JSON is JSON, or a string where it
 * is not valid. Of two columns of one name, the second is called `name_2`.
 */
export function rowEncoder(seq: number, fields: readonly FieldPacket[]): (row: readonly unknown[]) => string {
  const columns = fields as unknown as readonly Column[];
  const names: string[] = [];
  for (const { name } of columns) {
    let unique = name;
    for (let n = 2; names.includes(unique); n++) unique = `${name}_${n}`;
    names.push(unique);
  }
  const keys = names.map((name, index) => `${index === 0 ? "" : ","}${JSON.stringify(name)}:`);
  const encoders = columns.map(encoderOf);
  const start = `{"seq":${seq},"row":{`;
  return (row) => {
    let line = start;
    for (let index = 0; index < keys.length; index++) {
      const value = row[index];
      line += keys[index]! + (value === null ? "null" : encoders[index]!(value));
    }
    return `${line}}}\n`;
  };
}

const reals = new Set<number>([Types.FLOAT, Types.DOUBLE]);
const integers = new Set<number>([Types.TINY, Types.SHORT, Types.INT24, Types.LONG, Types.LONGLONG, Types.YEAR]);
const dates = new Set<number>([Types.DATE, Types.NEWDATE, Types.TIME, Types.DATETIME, Types.TIMESTAMP]);

/** Chooses how a column is encoded, and makes mysql2 read the text that the server has sent. */
function encoderOf(column: Column): (value: unknown) => string {
  const { columnType, extendedFormat } = column;
  if (columnType === Types.JSON) {
    Object.assign(column, utf8); // MySQL says that it is binary
    return encodeJson;
  }
  if (extendedFormat === "json") {
    column.extendedFormat = undefined; // MariaDB's is a LONGTEXT with this mark
    return encodeJson;
  }
  const isNumber = reals.has(columnType) || integers.has(columnType);
  // Of the DOUBLEs that mysql2 computes from their digits, one in a hundred is not exact. A DECIMAL it leaves as it is.
  if (isNumber || dates.has(columnType)) column.columnType = Types.NEWDECIMAL;
  if (reals.has(columnType)) return (digits) => String(Number(digits));
  if (isNumber) return encodeInteger;
  return column.columnType === Types.NEWDECIMAL ? (text) => `"${text}"` : encodeText;
}

/** A text, as mysql2 describes it. */
const utf8 = { columnType: Types.VAR_STRING, characterSet: 45, encoding: "utf8" };
/** From so many characters on, an integer may be beyond a double. */
const longLength = 16;

function encodeInteger(value: unknown): string {
  const digits = value as string;
  if (digits.length < longLength && !digits.startsWith("0")) return digits;
  const number = Number(digits); // of those with zeros before it, too, as from ZEROFILL
  return Number.isSafeInteger(number) ? String(number) : `"${digits}"`;
}

function encodeText(value: unknown): string {
  // Most texts need no escapes: to look is faster than to let JSON.stringify() look.
  if (typeof value === "string") return /["\\\0-\x1f\ud800-\udfff]/.test(value) ? JSON.stringify(value) : `"${value}"`;
  return JSON.stringify(Buffer.isBuffer(value) ? value.toString("base64") : value); // or a geometry
}

/** JSON in one line; MariaDB's may be looser, or anything at all where its check was switched off: then as a text. */
function encodeJson(value: unknown): string {
  try {
    JSON.parse(value as string);
    return (value as string).replace(/[\r\n]+/g, " ");
  } catch {
    return JSON.stringify(value);
  }
}
