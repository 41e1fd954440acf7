/** Names of tables and columns in SQL. */

/** Splits `table` or `database.table`. A name with a dot or a backtick in it must be quoted as in SQL. */
export function splitName(name: string): { readonly database: string | undefined; readonly table: string } | undefined {
  const [, database, table] = /^(?:(`(?:[^`]|``)+`|[^`.]+)\.)?(`(?:[^`]|``)+`|[^`.]+)$/.exec(name) ?? [];
  return table === undefined ? undefined : { database: database && unquoted(database), table: unquoted(table) };
}

/** Returns a name quoted for SQL. */
export function quoted(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

function unquoted(name: string): string {
  return name.startsWith("`") ? name.slice(1, -1).replaceAll("``", "`") : name;
}
