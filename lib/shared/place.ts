/** Where in a person's own code an error was thrown. */
import { isAbsolute, relative } from "node:path";
import { fileURLToPath } from "node:url";

const lib = fileURLToPath(new URL("..", import.meta.url));
const frames = /^ +at (?:async )?(?:(.+) \()?((?:file:\/\/)?\/.+:\d+:\d+)\)?$/gm;

/** Such as `myscript.ts:17:9`; `undefined` for what was not thrown in a person's code. */
export function placeOf(error: Error): string | undefined {
  for (const [, name, place] of String(error.stack).matchAll(frames)) {
    if (name === "runCommand") break; // every script calls it
    const path = place!.startsWith("file:") ? fileURLToPath(place!) : place!;
    if (path.startsWith(lib) || path.includes("/node_modules/")) continue;
    const near = relative(process.cwd(), path);
    return near.startsWith("..") || isAbsolute(near) ? path : near;
  }
  return undefined;
}
