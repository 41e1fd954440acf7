import { homedir } from "node:os";
import { join } from "node:path";

/** Returns the user's home directory, if there is one. */
export function homeOf(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined;
  }
}

/** Returns the path of the user's own option file. */
export function ownFile(home = homeOf()): string {
  return join(home ?? "", ".my.cnf");
}
