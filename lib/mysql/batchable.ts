/** Texts that can share a round trip with others. */

/**
 * Returns true if a text can be one of several in a round trip: it is certainly one statement with one result. Its quotes are
 * closed. It has no backslash, and outside quotes no comment and no semicolon.
 */
export function isBatchable(text: string): boolean {
  return text.length <= longest && batchable.test(text) && plainText.test(text);
}

/** The most characters of a text in a batch. Longer texts gain nothing from sharing a round trip. */
export const longest = 10_000;
const batchable = /^\s*(?:SELECT|INSERT|REPLACE|UPDATE|DELETE|DO)\b/i;
const plainText = /^(?:[^'"`;#\\/-]|-(?!-)|\/(?!\*)|'[^'\\]*'|"[^"\\]*"|`[^`]*`)*$/; // not over `longest`: V8 runs out of stack
