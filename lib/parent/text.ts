/** Formats text and numbers for a terminal and for messages. */

/**
 * Makes text of any origin safe for a terminal, on one line. Control and format characters become `�`, line ends and tabs become
 * blanks. The joiners U+200C and U+200D stay, because emoji and several scripts are written with them.
 */
export function printable(text: string): string {
  return text.replace(/[\r\n\t]+/g, " ").replace(/(?![\u200C\u200D])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\uFFFD");
}

/** Formats a number with commas. `toLocaleString()` would load all of ICU, which takes some 25 ms. */
export function count(value: number): string {
  return String(value).replace(/(?<!\.\d*)\B(?=(?:\d{3})+(?!\d))/g, ",");
}

/** Returns a number with its noun, such as `1 row` or `2,000 rows`. */
export function counted(value: number, noun: string, plural = `${noun}s`): string {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}

/** Breaks a text between words. */
export function wrapped(text: string, columns = 80): string {
  return text.replace(new RegExp(`(?=.{${columns}})(.{0,${columns - 1}}) `, "g"), "$1\n");
}
