/** The settings of the server in an option file, by the names of MySQL's and MariaDB's clients. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { isOn, type Settings, type SettingsFile, type Source, switchNames } from "../../command/config.ts";
import { UsageError } from "../../command/errors.ts";
import { homeOf, readOptionFile } from "./option-file.ts";

const off = new RegExp(`^(?:skip|disable)-(ssl.*|${switchNames.join("|")})$`);

/** Returns the option file that is named, or else the user's own one if it exists. */
export function settingsFile(named: string | undefined, home = homeOf()): SettingsFile | undefined {
  const path = named ?? join(home ?? "", ".my.cnf");
  if (named === undefined && !existsSync(path)) return undefined;
  return { isNamed: named !== undefined, read: () => readSettings(path) };
}

function readSettings(path: string): Source {
  const options = new Map<string, string | undefined>();
  try {
    for (const [name, value] of readOptionFile(path, ["client", "client-server", "client-mariadb"])) {
      const plain = name.replaceAll("_", "-").replace(/^loose-/, "");
      const switchedOff = off.exec(plain)?.[1];
      const isSwitch = (switchNames as readonly string[]).includes(plain);
      const given = switchedOff === undefined ? (value ?? (isSwitch ? "1" : undefined)) : "0";
      options.set(switchedOff ?? plain, given);
    }
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
  const settings: Settings = { "ssl-mode": mariadbMode(options), ...Object.fromEntries(options) };
  return { settings, nameOf: (setting) => `${setting} in ${JSON.stringify(path)}` };
}

/** Translates MariaDB's TLS switches to MySQL's `ssl-mode`. */
function mariadbMode(options: ReadonlyMap<string, string | undefined>): string | undefined {
  if (options.has("ssl") && !isOn(options.get("ssl"))) return "DISABLED";
  if (options.has("ssl-verify-server-cert") && isOn(options.get("ssl-verify-server-cert"))) return "VERIFY_IDENTITY";
  return options.has("ssl") && !options.get("ssl-ca") ? "REQUIRED" : undefined;
}
