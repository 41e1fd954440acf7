/**
 * Finds the server's address and credentials: in `--url`, then in flags, in the environment, and in an option file.
 *
 * `localhost` means TCP here, unless the environment or the option file also names a socket. The mysql client would always take
 * the socket.
 */
import { existsSync } from "node:fs";
import { isIP, isIPv6 } from "node:net";
import { join } from "node:path";
import type { ConnectionOptions } from "mysql2/promise";
import type { AccountOptions } from "../mysql/accounts.ts";
import type { Host } from "../mysql/connection.ts";
import { UsageError } from "./errors.ts";
import type { Reader } from "./flags.ts";
import { homeOf, readOptionFile, userName } from "./option-file.ts";
import { type Picked, tlsOf } from "./tls.ts";

const flagNames = ["host", "port", "socket", "user", "database", "ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"] as const;
/** Flags without a value. */
const switchNames = ["compress", "local-infile", "get-server-public-key", "enable-cleartext-plugin"] as const;
const off = new RegExp(`^(?:skip|disable)-(ssl.*|${switchNames.join("|")})$`);
export type Setting = (typeof flagNames)[number] | (typeof switchNames)[number] | "password";
type Settings = { readonly [Name in Setting]?: string | undefined };

/** Flags that describe the server. There is none for a password, because `ps` would show it. */
export interface ServerFlags extends Omit<Settings, "password" | (typeof switchNames)[number]> {
  readonly compress?: boolean | undefined;
  readonly "local-infile"?: boolean | undefined;
  readonly "get-server-public-key"?: boolean | undefined;
  readonly "enable-cleartext-plugin"?: boolean | undefined;
  readonly url?: string | undefined;
  readonly "defaults-file"?: string | undefined;
}

/** Address of a server. */
export interface Address {
  readonly host: string;
  /** @default the port of `--port`, the environment or the option file */
  readonly port?: number | undefined;
}

export interface Server {
  /** Options for mysql2, without the host. Plain data that can be sent to a worker. */
  readonly db: ConnectionOptions & AccountOptions;
  /** Addresses of the server, or of the servers of a cluster. Empty for a socket. */
  readonly hosts: readonly Host[];
  /** True for `--ssl-mode PREFERRED`: use `db.ssl` only if the server offers TLS. */
  readonly tlsOptional: boolean;
}

/** Server that flags, environment or option file name. */
export interface NamedServer extends Server {
  /** Returns other servers with the same account, such as replicas. @throws UsageError for an address that TLS cannot verify. */
  others(addresses: readonly Address[]): Server;
}

/**
 * Returns the server that flags, environment or option file name. Returns undefined if none of them names one.
 *
 * Each host of a list may have its own port. `--port` is the default for the others. The default user is the user of the
 * operating system, as in the mysql client. `VERIFY_CA` and `VERIFY_IDENTITY` without `--ssl-ca` trust Node's authorities.
 *
 * @throws UsageError if settings are invalid or contradict one another. Its message contains no password.
 */
export function resolveServer(flags: ServerFlags, env = process.env, home = homeOf()): NamedServer | undefined {
  const url = flags.url ? parseUrl(flags.url) : {};
  if (url.password) {
    throw new UsageError(
      "--url must not hold a password, which ps would show: put it into MYSQL_PWD or an option file",
    );
  }
  rejectContradictions(flags, url);
  const sources: Source[] = [
    { settings: url, nameOf: (setting) => `${setting} in --url` },
    { settings: { ...flags, ...switchesOf(flags) } as Settings, nameOf: (setting) => `--${setting}` },
    { settings: readEnvironment(env), nameOf: (setting) => variables[setting] ?? setting },
  ];
  const file = flags["defaults-file"];
  if (file === undefined && !sources.some(namesServer)) {
    const stray = [...flagNames, ...switchNames].find((name) => flags[name] !== undefined);
    if (stray === undefined) return undefined;
    throw new UsageError(`--${stray} needs a server: name one with --host, --socket, --url or --defaults-file`);
  }
  const own = home === undefined ? "" : join(home, ".my.cnf");
  if (file !== undefined || existsSync(own)) sources.push(readDefaults(file ?? own));

  const pick = (setting: Setting): Picked | undefined => {
    const source = sources.find(({ settings }) => settings[setting]);
    return source && { value: source.settings[setting]!, name: source.nameOf(setting) };
  };
  // The address comes from one source only. Otherwise the host of one could be combined with the socket of another.
  const place = sources.find(namesServer)?.settings ?? {};
  const socketPath = !place.host || place.host === "localhost" ? place.socket : undefined;
  const port = parsePort(pick("port"));
  const { value: host, name: hostName } = pick("host") ?? { value: "localhost", name: "host" };
  const addresses = socketPath ? [] : readHosts(host, hostName);
  const { mode, ssl } = tlsOf(pick);
  const isGiven = (name: Setting) => isOn(pick(name)?.value ?? "0");
  const password = pick("password")?.value;
  const database = pick("database")?.value;
  const account: Server["db"] = {
    user: pick("user")?.value ?? userName(env),
    ...(password && { password }),
    ...(database && { database }),
    ...(isGiven("compress") && { compress: true }),
    ...(isGiven("local-infile") && { flags: ["LOCAL_FILES"] }),
    ...(isGiven("get-server-public-key") && { getServerPublicKey: true }),
    ...(isGiven("enable-cleartext-plugin") && { enableCleartextPlugin: true }),
  };
  const at = (socket: string | undefined, addresses: readonly Address[]): Server => {
    if (mode === "VERIFY_IDENTITY" && addresses.some(({ host }) => isIP(host))) {
      // mysql2 3.24 would compare the certificate with "localhost".
      throw new UsageError("Cannot check an IP address with VERIFY_IDENTITY: give the host's name, or use VERIFY_CA");
    }
    const tls = mode !== "DISABLED" && !(mode === "PREFERRED" && socket);
    const db = {
      ...account,
      ...(socket && { socketPath: socket }),
      ...(tls && { ssl }),
    };
    const hosts = addresses.map(({ host, port: own = port }) => ({ host, port: own }));
    return { db, hosts, tlsOptional: tls && mode === "PREFERRED" };
  };
  return { ...at(socketPath, addresses), others: (addresses) => at(undefined, addresses) };
}

interface Source {
  readonly settings: Settings;
  /** Returns the name of a setting for messages, such as `--host`. */
  nameOf(setting: Setting): string;
}

function switchesOf(flags: ServerFlags): Settings {
  return Object.fromEntries(switchNames.filter((name) => flags[name]).map((name) => [name, "1"]));
}

/** Returns true if the value of a switch means on, as an empty value does. */
function isOn(value = ""): boolean {
  return !/^(?:0|off|false)$/i.test(value);
}

const variables: Settings = {
  host: "MYSQL_HOST",
  port: "MYSQL_TCP_PORT",
  socket: "MYSQL_UNIX_PORT",
  user: "MYSQL_USER",
  password: "MYSQL_PWD",
  database: "MYSQL_DATABASE",
};

function readEnvironment(env: NodeJS.ProcessEnv): Settings {
  return Object.fromEntries(Object.entries(variables).map(([setting, variable]) => [setting, env[variable!]]));
}

/** Returns the name of a variable that describes a server though nothing names one. The sandbox would silently ignore it. */
export function strayVariable(env: NodeJS.ProcessEnv): string | undefined {
  return Object.values(variables).find((variable) => env[variable!]);
}

function namesServer({ settings }: Source): boolean {
  return Boolean(settings.host || settings.socket);
}

function rejectContradictions(flags: ServerFlags, url: Settings): void {
  for (const name of [...flagNames, "url", "defaults-file"] as const) {
    // An empty value is mostly an unset shell variable. It must not silently lead to another server.
    if (flags[name] === "") throw new UsageError(`--${name} must not be empty`);
  }
  for (const name of flagNames) {
    if (flags[name] !== undefined && url[name === "socket" ? "host" : name]) {
      throw new UsageError(`--${name} contradicts --url: give one of them`);
    }
  }
  if (flags.host && flags.socket) throw new UsageError("--socket contradicts --host: give one of them");
}

/** Parses `--url`. Its errors quote nothing, because a misplaced part may be a password. */
function parseUrl(url: string): Settings {
  const fail = () =>
    new UsageError(
      "Cannot read --url: it must be like mysql://user@host:3306/database, without a password, and in a name " +
        '"@" is written %40, "/" %2F, "?" %3F, "#" %23 and "%" %25',
    );
  const parts = /^(?:mysql|mariadb):\/\/(?:([^/?#]*)@)?([^@/?#]+)\/?([^@/?#]*)(?:\?([^@#]*))?$/i.exec(url);
  if (parts === null) throw fail();
  const [, account = "", host, path = "", query] = parts;
  const parameters = Object.fromEntries(new URLSearchParams(query));
  const unknown = Object.keys(parameters).find((name) => name !== "ssl-mode" && name !== "ssl-ca");
  if (unknown !== undefined) {
    throw new UsageError(`Unknown parameter ${JSON.stringify(unknown)} in --url: it may be ssl-mode or ssl-ca`);
  }
  const [name, ...rest] = account.split(":");
  try {
    const [user, password, database] = [name!, rest.join(":"), path].map(decodeURIComponent);
    return { host, user, password, database, ...parameters };
  } catch {
    throw fail();
  }
}

function readDefaults(path: string): Source {
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

export const readHosts: Reader<readonly Address[]> = (text, name) =>
  text.split(",").map((item) => {
    const own = item.trim();
    if (isIPv6(own)) return { host: own };
    const [, address, hostName, port] = /^(?:\[(.+)\]|([\p{L}\p{N}._-]+))(?::(\d+))?$/u.exec(own) ?? [];
    const host = address ?? hostName;
    if (host === undefined || (address && !isIPv6(address)) || (port && !isPort(port))) {
      throw new UsageError(`${name} must be one or more hosts with ports 1 to 65535, like "db1,db2:3307,[::1]:3308"`);
    }
    return { host, port: port === undefined ? undefined : Number(port) };
  });

function parsePort({ value, name }: Picked = { value: "3306", name: "port" }): number {
  if (isPort(value)) return Number(value);
  if (name === "--port" && /^\D/.test(value) && !/^[-+\s]*\d/.test(value)) {
    throw new UsageError("--port must be 1 to 65535: a password goes into MYSQL_PWD or an option file"); // -p is another flag
  }
  throw new UsageError(`${name} must be 1 to 65535, not ${JSON.stringify(value)}`);
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535;
}
