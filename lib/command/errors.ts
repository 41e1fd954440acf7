/** What is wrong, in one line for the person who runs the command. */
import { basename, isAbsolute, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { RunError } from "../mp.ts";
import { printable } from "../parent/progress.ts";

/** What a person has called this script. */
export const script = basename(process.argv[1] ?? "myscript.ts");
/** What its messages begin with. */
export const commandName = script.replace(/\.[cm]?[jt]s$/, "");

/** What the person who runs the command has to put right, in one line; the exit status is 2. */
export class UsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(printable(message), options);
  }
}

/** Why the operating system refused: Node says "ENOENT: no such file or directory, access 'name'". */
export function why(error: unknown): string {
  return (error as Error).message.replace(/^E[A-Z0-9]+: /, "").split(", ")[0]!;
}

/** What an error says, and where in the script it was thrown. */
export function explain(error: unknown): string {
  const place = placeOf(error instanceof RunError ? error.cause : error);
  return `${error instanceof Error ? error.message : error}${place}`;
}

const lib = fileURLToPath(new URL("..", import.meta.url));

/** Where in a person's script an error was thrown, such as ` (myscript.ts:17:9)`; "" for what is none of the script's. */
function placeOf(error: unknown): string {
  if (!(error instanceof Error) || error instanceof UsageError) return "";
  for (const [, name, place] of (error.stack ?? "").matchAll(frames)) {
    if (name === "runCommand") break; // every script calls it
    const path = place!.startsWith("file:") ? fileURLToPath(place!) : place!;
    if (path.startsWith(lib) || path.includes("/node_modules/")) continue;
    const near = relative(process.cwd(), path);
    return ` (${near.startsWith("..") || isAbsolute(near) ? path : near})`;
  }
  return "";
}

const frames = /^ +at (?:async )?(?:(.+) \()?((?:file:\/\/)?\/.+:\d+:\d+)\)?$/gm;
