/** Names of tables, as people and as SQL write them. */

/** Takes apart `table` or `database.table`, of which one that has a dot or a backtick in it is quoted as in SQL. */
export function splitName(name: string): { readonly database: string | undefined; readonly table: string } | undefined {
  const [, database, table] = /^(?:(`(?:[^`]|``)+`|[^`.]+)\.)?(`(?:[^`]|``)+`|[^`.]+)$/.exec(name) ?? [];
  return table === undefined ? undefined : { database: database && unquoted(database), table: unquoted(table) };
}

/** A name as SQL. */
export function quoted(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

function unquoted(name: string): string {
  return name.startsWith("`") ? name.slice(1, -1).replaceAll("``", "`") : name;
}
