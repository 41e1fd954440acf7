/**
 * The server that the tests run on: the one that TEST_SERVER names, or the MariaDB that is installed.
 *
 * Its programs come first on the PATH, and nothing else is set: the tests and all that they start find it as a person's would.
 */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where `npm run servers` puts those that are not installed; each has a folder `bin`. */
export const serversDirectory = fileURLToPath(new URL("../.servers/", import.meta.url));
export const serverNames = ["mariadb-10.11", "mariadb-11.8", "mysql-9.7", "mysql-5.7"] as const;

const name = process.env.TEST_SERVER || serverNames[0];
/** Such as `["mysql", 9.7]`. */
const [family, version] = [name.split("-")[0]!, Number(name.split("-")[1])];

export const target = {
  name,
  isMariaDB: family === "mariadb",
  version,
  /** Its own client. MySQL 9.7's is for 5.7, too. */
  client: family,
  /** As a new user would have it; from 11.4 on, MariaDB's insists on TLS. */
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
  // Where a MariaDB is on the PATH, the sandbox takes no MySQL.
  const others = (process.env.PATH ?? "").split(delimiter).filter((place) => !existsSync(join(place, "mariadbd")));
  process.env.PATH = [bin, ...others].join(delimiter);
}

/** What some servers have and others do not, and what the tests need of it. */
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

/** Why a test that needs these is skipped on this server; false where it has them. */
export function lacks(...needed: readonly (keyof typeof features)[]): string | false {
  const missing = needed.filter((feature) => !features[feature]);
  return missing.length > 0 && `${name} has not got ${missing.join(", ")}`;
}

/** The state in a process list of what waits until its client reads on. */
export const isWriting = /^(?:Writing to net|Sending to client)$/;

/**
 * A table of the numbers 1 to `most` in a column `seq`, to stand in a FROM: MariaDB's sequence engine, or else a join of digits,
 * which is not in their order.
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
