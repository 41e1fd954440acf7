/** Who runs this: in many containers a user without an entry in the list of users. */
import { homedir, userInfo } from "node:os";
import { UsageError } from "./errors.ts";

/** The user's home, where there is one. */
export function homeOf(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined;
  }
}

/** The user's name. @throws UsageError where nothing tells it. */
export function userName(env: NodeJS.ProcessEnv): string {
  try {
    return userInfo().username;
  } catch {
    const name = env.USER || env.LOGNAME; // in a container the user often has a number only
    if (name) return name;
    throw new UsageError("Cannot tell who runs this: name the user with --user");
  }
}
