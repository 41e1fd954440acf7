/** Where in a person's own code an error was thrown. */
import { isAbsolute, relative } from "node:path";
import { fileURLToPath } from "node:url";

const lib = fileURLToPath(new URL("..", import.meta.url));
/** A package in a bundle: the map of its lines has only those of lib and of a script. */
const packaged = /[/\\]node_modules[/\\]|[/\\][\da-f]{32}-[\da-f]{64}\.cjs:/;
const frames = /^ +at (?:async )?(?:(.+) \()?((?:file:\/\/)?\/.+:\d+:\d+)\)?$/gm;

/** Such as `myscript.ts:17:9`; `undefined` for what was not thrown in a person's code. */
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
