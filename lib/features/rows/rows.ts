/** Encodes rows as NDJSON in the workers: `{"seq":12,"row":{"id":1,"name":"a"}}`. No value loses precision. */
import mysql from "mysql2";
import type { Column } from "../../mysql/command.ts";
import type { RowPacket } from "../../mysql/mysql2-query.ts";

const { Types } = mysql;

/**
 * Returns a function that encodes the rows of one result, which the server sends as text in utf8mb4.
 *
 * DECIMAL, a BIGINT beyond a double, dates and times become strings. BLOB, BIT and GEOMETRY become the server's bytes in base64. A
 * VECTOR becomes a list of numbers. JSON stays JSON, or becomes a string if it is not valid. If two columns have one name, the
 * second is called `name_2`.
 */
export function rowEncoder(seq: number, columns: readonly Column[]): (row: RowPacket) => string {
  const names: string[] = [];
  for (const { name } of columns) {
    let unique = name;
    for (let n = 2; names.includes(unique); n++) unique = `${name}_${n}`;
    names.push(unique);
  }
  const keys = names.map((name, index) => `${index === 0 ? "" : ","}${JSON.stringify(name)}:`);
  const readers = columns.map(readerOf);
  const start = `{"seq":${seq},"row":{`;
  return (row) => {
    let line = start;
    for (let index = 0; index < keys.length; index++) line += keys[index]! + readers[index]!(row);
    return `${line}}}\n`;
  };
}

/** Reads a row's next value, and returns it as JSON. */
type Reader = (row: RowPacket) => string;

const reals = new Set<number>([Types.FLOAT, Types.DOUBLE]);
const integers = new Set<number>([Types.TINY, Types.SHORT, Types.INT24, Types.LONG, Types.LONGLONG, Types.YEAR]);
/** Types whose values are ASCII, though their columns have the character set `binary`. */
const ascii = new Set<number>([
  Types.DECIMAL,
  Types.NEWDECIMAL,
  Types.DATE,
  Types.NEWDATE,
  Types.TIME,
  Types.DATETIME,
  Types.TIMESTAMP,
]);
const binary = 63;

function readerOf({ columnType, characterSet, extendedFormat, extendedTypeName }: Column): Reader {
  // MySQL has a type for JSON. In MariaDB, JSON is a LONGTEXT and VECTOR a VARBINARY, each with a mark in its metadata.
  if (columnType === Types.JSON || extendedFormat === "json") return text(encodeJson);
  if (columnType === Types.VECTOR || extendedTypeName === "vector") return bytes(encodeVector);
  if (reals.has(columnType)) return text(encodeReal);
  if (integers.has(columnType)) return text(encodeInteger);
  if (ascii.has(columnType)) return text((value) => `"${value}"`);
  if (columnType === Types.NULL) return text(encodeText);
  if (characterSet === binary) return bytes((value) => `"${value.toString("base64")}"`);
  return text(encodeText);
}

function text(encode: (value: string) => string): Reader {
  return (row) => {
    const value = row.readLengthCodedString("utf8");
    return value === null ? "null" : encode(value);
  };
}

function bytes(encode: (value: Buffer) => string): Reader {
  return (row) => {
    const value = row.readLengthCodedBuffer();
    return value === null ? "null" : encode(value);
  };
}

function encodeReal(digits: string): string {
  return digits.startsWith("-0") && Number(digits) === 0 ? "-0" : String(Number(digits));
}

/** Characters from which on an integer may be beyond a double. */
const longLength = 16;

function encodeInteger(digits: string): string {
  if (digits.length < longLength && !digits.startsWith("0")) return digits;
  const number = Number(digits); // also removes the zeros of ZEROFILL
  return Number.isSafeInteger(number) ? String(number) : `"${digits}"`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes them
const escapedCharacter = /["\\\0-\x1f\ud800-\udfff]/;

function encodeText(value: string): string {
  // Most texts need no escapes, and this test is faster than JSON.stringify().
  return escapedCharacter.test(value) ? JSON.stringify(value) : `"${value}"`;
}

/** Returns JSON on one line, or a string if it is not valid. MariaDB accepts looser JSON, and any text if its check is off. */
function encodeJson(value: string): string {
  try {
    JSON.parse(value);
    return value.replace(/[\r\n]+/g, " ");
  } catch {
    return JSON.stringify(value);
  }
}

/** Returns the 32-bit floats of a VECTOR, each with the fewest digits that read back the same. NaN and infinity become null. */
function encodeVector(value: Buffer): string {
  const numbers: (number | null)[] = [];
  for (let at = 0; at + 4 <= value.length; at += 4) numbers.push(shortest(value.readFloatLE(at)));
  return JSON.stringify(numbers);
}

function shortest(float: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const number = Number(float.toPrecision(digits));
    if (Math.fround(number) === float) return number;
  }
  return float;
}
