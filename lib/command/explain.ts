/** What an error says to a person. */
import { isAbsolute, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** Why the operating system refused: Node says "ENOENT: no such file or directory, access 'name'". */
export function why(error: unknown): string {
  return (error as Error).message.replace(/^E[A-Z0-9]+: /, "").split(", ")[0]!;
}

/** The message, and where in the script of the person who runs it the error comes from, if it comes from there. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const place = placeOf(error.stack ?? "");
  return place === undefined ? error.message : `${error.message} (${place})`;
}

/** The first place that is neither Node's, nor a package's, nor of this folder; `runCommand()` is called by every script. */
function placeOf(stack: string): string | undefined {
  for (const [, name, place] of stack.matchAll(/^ +at (?:async )?(?:(.+) \()?((?:file:\/\/)?\/.+:\d+:\d+)\)?$/gm)) {
    if (name === "runCommand") return undefined;
    const path = place!.startsWith("file:") ? fileURLToPath(place!) : place!;
    if (path.includes("/node_modules/") || path.startsWith(lib)) continue;
    const near = relative(process.cwd(), path);
    return near.startsWith("..") || isAbsolute(near) ? path : near;
  }
  return undefined;
}

const lib = fileURLToPath(new URL("..", import.meta.url));
