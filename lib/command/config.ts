/**
 * Finds the server's address and credentials: in `--url`, then in flags, in the environment, and in a file.
 *
 * `localhost` means TCP here, unless the environment or the file also names a socket. The mysql client would always take
 * the socket.
 */
import { isIP, isIPv6 } from "node:net";
import { userInfo } from "node:os";
import type { ConnectionOptions } from "mysql2/promise";
import type { AccountOptions } from "../mysql/accounts.ts";
import type { Host } from "../mysql/connection.ts";
import { UsageError } from "./errors.ts";
import type { Reader } from "./flags.ts";
import { type Picked, tlsNames, tlsOf } from "./tls.ts";

const flagNames = ["host", "port", "socket", "user", "database", ...tlsNames] as const;
/** Flags without a value. */
export const switchNames = ["compress", "local-infile", "get-server-public-key", "enable-cleartext-plugin"] as const;
type Setting = (typeof flagNames)[number] | (typeof switchNames)[number] | "password";
export type Settings = { readonly [Name in Setting]?: string | undefined };

/** Flags that describe the server. There is none for a password, because `ps` would show it. */
export type ServerFlags = {
  readonly [Name in (typeof flagNames)[number] | "url"]?: string | undefined;
} & { readonly [Name in (typeof switchNames)[number]]?: boolean | undefined };

/** Address of a server. */
export interface Address {
  readonly host: string;
  /** @default the port of `--port`, the environment or the file */
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

/** Server that flags, environment or a file name. */
export interface NamedServer extends Server {
  /** Returns other servers with the same account, such as replicas. @throws UsageError for an address that TLS cannot verify. */
  others(addresses: readonly Address[]): Server;
}

/** A file with settings of the server. */
export interface SettingsFile {
  /** True if the command line names the file, and so the server that it describes. */
  readonly isNamed: boolean;
  /** @throws UsageError if it cannot be read. */
  read(): Source;
}

/**
 * Returns the server that flags, environment or `file` name. Returns undefined if none of them names one.
 *
 * Each host of a list may have its own port. `--port` is the default for the others. The default user is the user of the
 * operating system, as in the mysql client. `VERIFY_CA` and `VERIFY_IDENTITY` without `--ssl-ca` trust Node's authorities.
 *
 * @param places where a password may stand, for messages.
 * @throws UsageError if settings are invalid or contradict one another. Its message contains no password.
 */
export function resolveServer(
  flags: ServerFlags,
  env = process.env,
  { file, places = "MYSQL_PWD" }: { file?: SettingsFile | undefined; places?: string } = {},
): NamedServer | undefined {
  const url = flags.url ? parseUrl(flags.url) : {};
  if (url.password) {
    throw new UsageError(`--url must not hold a password, which ps would show: put it into ${places}`);
  }
  rejectContradictions(flags, url);
  const sources: Source[] = [
    { settings: url, nameOf: (setting) => `${setting} in --url` },
    { settings: { ...flags, ...switchesOf(flags) } as Settings, nameOf: (setting) => `--${setting}` },
    { settings: readEnvironment(env), nameOf: (setting) => variables[setting] ?? setting },
  ];
  if (!file?.isNamed && !sources.some(namesServer)) return undefined;
  if (file) sources.push(file.read());

  const pick = (setting: Setting): Picked | undefined => {
    const source = sources.find(({ settings }) => settings[setting]);
    return source && { value: source.settings[setting]!, name: source.nameOf(setting) };
  };
  // The address comes from one source only. Otherwise the host of one could be combined with the socket of another.
  const place = sources.find(namesServer)?.settings ?? {};
  const socketPath = !place.host || place.host === "localhost" ? place.socket : undefined;
  const port = parsePort(pick("port"), places);
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

/** Settings from one place, such as the environment. */
export interface Source {
  readonly settings: Settings;
  /** Returns the name of a setting for messages, such as `--host`. */
  nameOf(setting: Setting): string;
}

function switchesOf(flags: ServerFlags): Settings {
  return Object.fromEntries(switchNames.filter((name) => flags[name]).map((name) => [name, "1"]));
}

/** Returns true if the value of a switch means on, as an empty value does. */
export function isOn(value = ""): boolean {
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

/** Returns the name of a flag that describes a server, if there is one. */
export function strayFlag(flags: ServerFlags): string | undefined {
  const name = [...flagNames, ...switchNames].find((name) => flags[name] !== undefined);
  return name && `--${name}`;
}

/** Returns the name of a variable that describes a server though nothing names one. The sandbox would silently ignore it. */
export function strayVariable(env: NodeJS.ProcessEnv): string | undefined {
  return Object.values(variables).find((variable) => env[variable!]);
}

function namesServer({ settings }: Source): boolean {
  return Boolean(settings.host || settings.socket);
}

function rejectContradictions(flags: ServerFlags, url: Settings): void {
  for (const name of [...flagNames, "url"] as const) {
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

function parsePort({ value, name }: Picked = { value: "3306", name: "port" }, places: string): number {
  if (isPort(value)) return Number(value);
  if (name === "--port" && /^\D/.test(value) && !/^[-+\s]*\d/.test(value)) {
    throw new UsageError(`--port must be 1 to 65535: a password goes into ${places}`); // -p is another flag
  }
  throw new UsageError(`${name} must be 1 to 65535, not ${JSON.stringify(value)}`);
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535;
}

/** Returns the name of the operating system's user. @throws UsageError if it is not known. */
function userName(env: NodeJS.ProcessEnv): string {
  try {
    return userInfo().username;
  } catch {
    const name = env.USER || env.LOGNAME; // in a container the user often has only a number
    if (name) return name;
    throw new UsageError("Cannot tell who runs this: name the user with --user");
  }
}
