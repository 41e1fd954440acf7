/** Rows as NDJSON: `{"seq":12,"row":{"id":1,"name":"a"}}`, exact, encoded in the workers. */
import mysql from "mysql2";
import type { Column, RowPacket } from "../../mysql/command.ts";

const { Types } = mysql;

/**
 * Makes the function that encodes the rows of one result, which the server sends as text in utf8mb4.
 *
 * DECIMAL, a BIGINT beyond a double, dates and times are strings; BLOB, BIT and GEOMETRY are the server's bytes in base64; a
 * VECTOR is a list of numbers; JSON is JSON, or a string where it is not valid. Of two columns of one name, the second is
 * called `name_2`.
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
/** DECIMAL, dates and times are in ASCII, though their columns say that they are binary. */
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
  // MySQL has a type for JSON; MariaDB's is a LONGTEXT with this mark. Its VECTOR is a VARBINARY with a mark.
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

/** From so many characters on, an integer may be beyond a double. */
const longLength = 16;

function encodeInteger(digits: string): string {
  if (digits.length < longLength && !digits.startsWith("0")) return digits;
  const number = Number(digits); // of those with zeros before it, too, as from ZEROFILL
  return Number.isSafeInteger(number) ? String(number) : `"${digits}"`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes them
const escapedCharacter = /["\\\0-\x1f\ud800-\udfff]/;

function encodeText(value: string): string {
  // Most texts need no escapes: to look is faster than to let JSON.stringify() look.
  return escapedCharacter.test(value) ? JSON.stringify(value) : `"${value}"`;
}

/** JSON in one line; MariaDB's may be looser, or anything at all where its check was switched off: then as a text. */
function encodeJson(value: string): string {
  try {
    JSON.parse(value);
    return value.replace(/[\r\n]+/g, " ");
  } catch {
    return JSON.stringify(value);
  }
}

/** The 32-bit floats of a VECTOR, each with the fewest digits that read back the same; null where it is none, as NaN. */
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
