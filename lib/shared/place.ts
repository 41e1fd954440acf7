/** Finds the place in the user's own code where an error was thrown. */
import { isAbsolute, relative } from "node:path";
import { fileURLToPath } from "node:url";

const lib = fileURLToPath(new URL("..", import.meta.url));
/** Matches a package, also in a bundle. The source map of a bundle has only the lines of lib and of a script. */
const packaged = /[/\\]node_modules[/\\]|[/\\][\da-f]{32}-[\da-f]{64}\.cjs:/;
const frames = /^ +at (?:async )?(?:(.+) \()?((?:file:\/\/)?\/.+:\d+:\d+)\)?$/gm;

/** Returns a place such as `myscript.ts:17:9`, `undefined` if the error was not thrown in the user's code. */
export function placeOf(error: Error): string | undefined {
  for (const [, name, place] of String(error.stack).matchAll(frames)) {
    if (name === "runCommand") break; // every script calls it
    const path = place!.startsWith("file:") ? fileURLToPath(place!) : place!;
    if (path.startsWith(lib) || packaged.test(path)) continue;
    const near = relative(process.cwd(), path);
    return near.startsWith("..") || isAbsolute(near) ? path : near;
  }
  return undefined;
}
