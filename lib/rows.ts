/** Rows as NDJSON: `{"seq":12,"row":{"id":1,"name":"a"}}`, exact, encoded in the workers. */
import type { ConnectionOptions, FieldPacket } from "mysql2";

/** Connection options for values as the server prints them; a BIGINT beyond a double comes as a string. */
export const exactValues: ConnectionOptions = {
  supportBigNumbers: true,
  bigNumberStrings: false,
  dateStrings: true,
  jsonStrings: true,
  typeCast: (field, next) => (field.type === "DOUBLE" || field.type === "FLOAT" ? toNumber(field.string()) : next()),
};

/** mysql2 3.24 computes a number from its digits, and in one of a hundred the last digit comes out wrong. */
function toNumber(text: string | null): number | null {
  return text === null ? null : Number(text);
}

/**
 * Makes the function that encodes the rows of one result.
 *
 * DECIMAL, dates and times are strings, BLOB and BIT are base64, JSON is JSON, or a string where it is not valid. Of two
 * columns of one name, the second is called `name_2`.
 */
export function rowEncoder(seq: number, fields: readonly FieldPacket[]): (row: readonly unknown[]) => string {
  const names: string[] = [];
  for (const { name } of fields) {
    let unique = name;
    for (let n = 2; names.includes(unique); n++) unique = `${name}_${n}`;
    names.push(unique);
  }
  const keys = names.map((name, index) => `${index === 0 ? "" : ","}${JSON.stringify(name)}:`);
  const isJson = fields.map((field) => field.type === 245 || isMariadbJson(field));
  const start = `{"seq":${seq},"row":{`;
  return (row) => {
    let line = start;
    for (let index = 0; index < keys.length; index++) line += keys[index]! + encode(row[index], isJson[index]!);
    return `${line}}}\n`;
  };
}

function encode(value: unknown, isJson: boolean): string {
  if (value === null || value === undefined) return "null";
  if (typeof value === "number") return String(value);
  if (typeof value === "string")
    return isJson && isValid(value) ? value.replace(/[\r\n]+/g, " ") : JSON.stringify(value);
  if (Buffer.isBuffer(value)) return JSON.stringify(value.toString("base64"));
  return JSON.stringify(value); // a geometry
}

/** What MariaDB takes for JSON may be looser, or anything at all where its check was switched off. */
function isValid(json: string): boolean {
  try {
    JSON.parse(json);
    return true;
  } catch {
    return false;
  }
}

/** MariaDB's JSON is a LONGTEXT with a mark. */
function isMariadbJson(field: FieldPacket): boolean {
  return (field as { extendedFormat?: string }).extendedFormat === "json";
}
