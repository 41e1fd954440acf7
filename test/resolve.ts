/** Finds the server of a command line. */
import { resolveServer, type ServerFlags } from "../lib/command/config.ts";
import { settingsFile } from "../lib/features/my-cnf/settings.ts";

export interface Flags extends ServerFlags {
  readonly "defaults-file"?: string | undefined;
}

/** Calls `resolveServer()` as the command does, with the option files of this home directory. */
export function resolve({ "defaults-file": named, ...flags }: Flags, env?: NodeJS.ProcessEnv, home?: string) {
  return resolveServer(flags, env, { file: settingsFile(named, home), places: "MYSQL_PWD or an option file" });
}
