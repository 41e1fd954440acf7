/** Rows as NDJSON: `{"seq":12,"row":{"id":1,"name":"a"}}`, exact, encoded in the workers. */
import mysql, { type ConnectionOptions, type FieldPacket } from "mysql2";

const { Types } = mysql;

/** Connection options for values as the server prints them. */
export const exactValues: ConnectionOptions = {
  dateStrings: true,
  decimalNumbers: false,
  jsonStrings: true,
  nestTables: false,
  typeCast: true,
};

/** A column as mysql2 describes it, beyond what its types tell. */
interface Column {
  readonly name: string;
  readonly flags: number;
  readonly extendedFormat?: string;
  columnType: number;
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

const integers = new Set<number>([Types.TINY, Types.SHORT, Types.INT24, Types.LONG, Types.LONGLONG, Types.YEAR]);

function encoderOf(column: Column): (value: unknown) => string {
  const { columnType, flags, extendedFormat } = column;
  if (columnType === Types.JSON || extendedFormat === "json") return encodeJson; // MariaDB's is a LONGTEXT with a mark
  const isReal = columnType === Types.FLOAT || columnType === Types.DOUBLE;
  if (!isReal && !integers.has(columnType)) return encodeText;
  // As mysql2 reads a DECIMAL: as text. What it computes from the digits of a DOUBLE is not exact, one time in a hundred.
  column.columnType = Types.NEWDECIMAL;
  if (isReal) return (digits) => String(Number(digits));
  return flags & paddedFlag ? encodePadded : encodeInteger;
}

/** ZEROFILL; a YEAR has it, too. */
const paddedFlag = 64;
/** From so many characters on, an integer may be beyond a double. */
const longLength = 16;

function encodeInteger(digits: unknown): string {
  return (digits as string).length < longLength ? (digits as string) : encodePadded(digits);
}

function encodePadded(digits: unknown): string {
  const number = Number(digits);
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
