import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import module, { createRequire } from "node:module";
import { basename } from "node:path";
import { Script } from "node:vm";
import { threadId } from "node:worker_threads";

/**
 * Evaluates a bundle, a function of CommonJS.
 *
 * @param role names a file beside the bundle: what V8 compiles of it is kept there by `keep()`, to be called when all has been
 * compiled that is needed. The next process or thread starts in half the time.
 * @param given modules that the bundle takes from here, by their paths in lib
 */
export function evaluate(path, role, given = {}) {
  const compiled = `${path}.${role}`;
  const cachedData = existsSync(compiled) ? readFileSync(compiled) : undefined;
  const script = new Script(readFileSync(path, "utf8"), { filename: path, cachedData });
  const loaded = { exports: {} };
  script.runInThisContext()(loaded, loaded.exports, createRequire(import.meta.url), given);
  return { parts: loaded.exports.parts, keep };

  function keep() {
    if (cachedData !== undefined && !script.cachedDataRejected) return;
    const unfinished = `${compiled}-${process.pid}-${threadId}`;
    try {
      writeFileSync(unfinished, script.createCachedData(), { mode: 0o600 });
      renameSync(unfinished, compiled);
    } catch {} // it does without
  }
}

/** Lets errors name the lines of the files that a bundle was made of. */
export function mapLines(path) {
  process.setSourceMapsEnabled(true);
  // Node reads a map with the source of a module, and not with a Script's.
  new module(path)._compile(`//# sourceMappingURL=${basename(path)}.map`, path);
}
