/** Recognizes what a statement reads of the statement before it on the same connection, such as `ROW_COUNT()`. */
import { longest } from "./statement.ts";

/** Names it; undefined if the text reads nothing of the kind. In a text of several statements, the first one counts. */
export function readsLastResult(text: string): string | undefined {
  if (!mayRead.test(text)) return undefined; // nearly all
  const statement = text.slice(0, longest).replace(noCode, " ").split(";", 1)[0]!;
  const [, name, whole] = reading.exec(statement) ?? [];
  return (name ?? whole)?.replace(/\s+/g, " ").replace(/ ?\($/, "()").toUpperCase();
}

const mayRead = /(?:ROW_COUNT|FOUND_ROWS)\s*\(|@@(?:\w+\.)?(?:WARNING|ERROR)_COUNT\b|\b(?:SHOW|DIAGNOSTICS)\b/i;
/** Strings, quoted names and comments, but for those that the server executes. */
const noCode = /'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*"|`[^`]*`|\/\*(?!M?!).*?\*\/|(?:--\s|#)[^\n]*/gs;
const reading = new RegExp(
  [
    // A function in the body of a procedure reads what that has done.
    "^[\\s(]*(?:SELECT|INSERT|REPLACE|UPDATE|DELETE|DO|WITH|VALUES|SET|CALL)\\b.*?(\\b(?:ROW_COUNT|FOUND_ROWS)\\s*\\(|@@(?:\\w+\\.)?(?:WARNING|ERROR)_COUNT\\b)",
    "^\\s*(SHOW\\s+(?:COUNT\\s*\\(.*\\)\\s+)?(?:WARNINGS|ERRORS)|GET\\s+(?:CURRENT\\s+)?DIAGNOSTICS)\\b",
  ].join("|"),
  "is",
);
