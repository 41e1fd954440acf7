/**
 * The server of the tests: the one that TEST_SERVER names, or the installed MariaDB.
 *
 * Its programs come first on the PATH. The tests and their child processes find it there.
 */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the servers that `npm run servers` downloads. Each has a folder `bin`. */
export const serversDirectory = fileURLToPath(new URL("../.servers/", import.meta.url));
export const serverNames = ["mariadb-10.11", "mariadb-11.8", "mysql-9.7", "mysql-5.7"] as const;

const name = process.env.TEST_SERVER || serverNames[0];
/** Example: `["mysql", 9.7]`. */
const [family, version] = [name.split("-")[0]!, Number(name.split("-")[1])];

export const target = {
  name,
  isMariaDB: family === "mariadb",
  version,
  /** The server's own client. MySQL 5.7 has that of 9.7. */
  client: family,
  /** Options of the client. MariaDB's client refuses a connection without TLS from 11.4 on, so it needs `--skip-ssl`. */
  clientArgs: [
    "--no-defaults",
    "--default-character-set=utf8mb4",
    ...(family === "mariadb" ? ["--skip-ssl"] : []),
  ] as readonly string[],
};

if (name !== serverNames[0]) {
  const bin = join(serversDirectory, name, "bin");
  if (!(serverNames as readonly string[]).includes(name)) {
    throw new Error(`TEST_SERVER must be ${serverNames.join(", ")}, not ${JSON.stringify(name)}`);
  }
  if (!existsSync(bin)) throw new Error(`There is no ${bin}: get it with "npm run servers"`);
  // If there is a mariadbd on the PATH, the sandbox prefers it to mysqld.
  const others = (process.env.PATH ?? "").split(delimiter).filter((place) => !existsSync(join(place, "mariadbd")));
  process.env.PATH = [bin, ...others].join(delimiter);
}

/** Features that only some of the servers have. */
const features = {
  "INSERT … RETURNING": target.isMariaDB,
  "BEGIN NOT ATOMIC": target.isMariaDB,
  "the type UUID": target.isMariaDB,
  "the type VECTOR": target.isMariaDB ? version >= 11.7 : version >= 9,
  "JSON as text": target.isMariaDB,
  "the role of a Galera node": target.isMariaDB,
  "ALTER INSTANCE RELOAD TLS": target.isMariaDB || version >= 8,
  "the X Protocol": !target.isMariaDB && version >= 8,
  offline_mode: !target.isMariaDB,
  CTEs: target.isMariaDB || version >= 8,
};

/** Returns the reason to skip a test that needs these features. False if the server has them all. */
export function lacks(...needed: readonly (keyof typeof features)[]): string | false {
  const missing = needed.filter((feature) => !features[feature]);
  return missing.length > 0 && `${name} has not got ${missing.join(", ")}`;
}

/** The state in SHOW PROCESSLIST of a query that waits for its client to read rows. */
export const isWriting = /^(?:Writing to net|Sending to client)$/;

/**
 * Returns a table expression for FROM: the numbers 1 to `most` in a column `seq`. It is a table of MariaDB's sequence engine, or
 * else a join of digits, whose rows are in no order.
 */
export function numbers(most: number, database?: string): string {
  const table = `seq_1_to_${most}`;
  if (target.isMariaDB) return database === undefined ? table : `${database}.${table}`;
  const digits = String(Math.max(most - 1, 0)).length;
  const places = Array.from({ length: digits }, (_, place) => place);
  const seq = `1 + ${places.map((place) => `d${place}.n * ${10 ** place}`).join(" + ")}`;
  const ten = `SELECT 0 AS n${Array.from({ length: 9 }, (_, n) => ` UNION ALL SELECT ${n + 1}`).join("")}`;
  const joined = places.map((place) => `(${ten}) AS d${place}`).join(" JOIN ");
  return `(SELECT ${seq} AS seq FROM ${joined} WHERE ${seq} <= ${most}) AS ${table}`;
}
