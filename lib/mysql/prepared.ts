/**
 * Prepared statements, and the types of their parameters.
 *
 * MySQL from 8.0.22 on gives each parameter a type when it prepares a statement. A value of another type changes that type, and
 * all later values are converted to the new one: after a number, the text "007" is stored in a VARCHAR as "7". Therefore a
 * statement is prepared again before it gets a value of another type. https://dev.mysql.com/doc/refman/8.4/en/prepare.html
 */
import mysql, { type Connection } from "mysql2";
import { productOf } from "./connection-state.ts";
import { nameError } from "./errors.ts";
import type { SqlValue } from "./values.ts";

/** Statement in mysql2's cache of one connection. */
export interface Prepared {
  /** The server's description of the parameters. */
  readonly parameters: readonly { readonly columnType: number }[];
  execute(values: readonly unknown[], callback: (error: Error | null) => void): object;
}

/** Prepares a statement, or takes it from mysql2's cache. @throws mysql2's QueryError */
export function prepare(connection: Connection, sql: string): Promise<Prepared> {
  return new Promise((resolve, reject) => {
    connection.prepare(sql, (error, statement) => {
      if (!error) return resolve(statement as unknown as Prepared);
      nameError(error, connection);
      reject(error.errno === 1064 ? explainSecond(error, sql) : error);
    });
  });
}

/** Prepares a statement for these values. @throws RangeError unless there is one value for each placeholder. */
export async function prepareFor(connection: Connection, sql: string, values: readonly SqlValue[]) {
  let statement = await prepare(connection, sql);
  checkCount(statement, values);
  if (!typesParameters(connection)) return { statement, parameters: values.map((value) => parameterOf(value, false)) };
  const parameters = values.map((value, index) => parameterOf(value, takesInteger(statement, index)));
  let sent = typesSent.get(statement) ?? [];
  if (parameters.some((parameter, index) => parameter && sent[index] !== undefined && parameter.type !== sent[index])) {
    connection.unprepare(sql);
    statement = await prepare(connection, sql);
    sent = [];
  }
  typesSent.set(
    statement,
    parameters.map((parameter, index) => parameter?.type ?? sent[index]), // NULL has none
  );
  return { statement, parameters };
}

/** @throws RangeError unless there is one value for each placeholder. */
export function checkCount({ parameters: { length } }: Prepared, values: readonly SqlValue[]): void {
  if (length === values.length) return;
  // mysql2 would send them anyway, and the server would assign them to columns arbitrarily.
  throw new RangeError(`There are ${length} placeholders and ${values.length} values: it takes one for each`);
}

/** Returns true if this parameter takes integers. To any other parameter, a number is sent as a DOUBLE. */
export function takesInteger({ parameters }: Prepared, index: number): boolean {
  return integers.has(parameters[index]?.columnType);
}

/** Returns true if the server gives parameters a type when it prepares: MySQL from 8.0 on. */
export function typesParameters(connection: Connection): boolean {
  const { isMariaDB, version } = productOf(connection);
  return !isMariaDB && Number.parseInt(version, 10) >= 8;
}

/** Returns true if parameters would lose data: MySQL cuts the milliseconds of a Date that it stores as text. */
export function losesValues(connection: Connection, values: readonly SqlValue[]): boolean {
  const hasMilliseconds = values.some((value) => value instanceof Date && value.getTime() % 1000 !== 0);
  return hasMilliseconds && !productOf(connection).isMariaDB;
}

const { Types, TypedParameter } = mysql;
const integers = new Set<number | undefined>([Types.TINY, Types.SHORT, Types.INT24, Types.LONG, Types.LONGLONG]);

/** Types of the last values that were sent for a statement. */
const typesSent = new WeakMap<Prepared, readonly (number | undefined)[]>();

/** Returns a value for mysql2, with the type to send it as. */
function parameterOf(value: SqlValue, asInteger: boolean) {
  if (value === null) return null;
  if (typeof value === "string") return TypedParameter.VAR_STRING(value);
  if (typeof value === "boolean") return TypedParameter.LONGLONG(value ? 1 : 0);
  if (typeof value === "number") {
    return asInteger && Number.isSafeInteger(value) ? TypedParameter.LONGLONG(value) : TypedParameter.DOUBLE(value);
  }
  if (typeof value === "bigint") {
    if (value === BigInt.asIntN(64, value)) return TypedParameter.LONGLONG(value);
    // Only for an integer parameter: elsewhere MySQL 5.7 prints an unsigned value as a negative number.
    if (asInteger && value === BigInt.asUintN(64, value)) return TypedParameter.LONGLONG.unsigned(value);
    return TypedParameter.NEWDECIMAL(String(value));
  }
  if (Buffer.isBuffer(value)) return TypedParameter.BLOB(value);
  return TypedParameter.DATETIME(value);
}

/** Explains a syntax error that a second statement causes. The server's message quotes the beginning of that statement. */
function explainSecond(error: Error, sql: string): Error {
  const quoted = /'(.*?)(?:\.\.\.)?'[^']*$/s.exec(error.message)?.[1];
  const before = quoted ? sql.slice(0, sql.lastIndexOf(quoted)).slice(-1000) : "";
  if (/;(?:\s|--[^\n]*\n|#[^\n]*\n|\/\*.*?\*\/)*$/s.test(before)) {
    error.message = `With values it is one statement: ${error.message}`;
  }
  return error;
}
