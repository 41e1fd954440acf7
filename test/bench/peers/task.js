/** The task of the peers in JavaScript: SQL COUNT WORKERS on the command line. */
const [sql, count, concurrency] = process.argv.slice(2);

export const db = { socketPath: process.env.MYSQL_UNIX_PORT, user: "root", database: "myscript" };

export const workers = Number(concurrency);

export function buildQueries() {
  return Array.from({ length: Number(count) }, (_, i) => sql.replace("{}", String(1 + ((i * 7919) % 200_000))));
}
