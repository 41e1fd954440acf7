/**
 * Where a server's name and credentials come from: `--url`, then flags, then the environment, then an option file.
 *
 * `localhost` is TCP here, unless the environment or the option file names a socket beside it; the mysql client takes the socket.
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
/** What is only on or off. */
const switchNames = ["compress", "local-infile", "get-server-public-key", "enable-cleartext-plugin"] as const;
const off = new RegExp(`^(?:skip|disable)-(ssl.*|${switchNames.join("|")})$`);
export type Setting = (typeof flagNames)[number] | (typeof switchNames)[number] | "password";
type Settings = { readonly [Name in Setting]?: string | undefined };

/** The flags that name a server. There is none for a password: `ps` would show it. */
export interface ServerFlags extends Omit<Settings, "password" | (typeof switchNames)[number]> {
  readonly compress?: boolean | undefined;
  readonly "local-infile"?: boolean | undefined;
  readonly "get-server-public-key"?: boolean | undefined;
  readonly "enable-cleartext-plugin"?: boolean | undefined;
  readonly url?: string | undefined;
  readonly "defaults-file"?: string | undefined;
}

/** Where a server listens. */
export interface Address {
  readonly host: string;
  /** @default the port that `--port` or its like names */
  readonly port?: number | undefined;
}

export interface Server {
  /** What mysql2 needs besides the host; plain data, so it can be sent to a worker. */
  readonly db: ConnectionOptions & AccountOptions;
  /** Where the server, or the servers of a cluster listen; empty for a socket. */
  readonly hosts: readonly Host[];
  /** `--ssl-mode PREFERRED`: `db.ssl` is for a server that offers TLS. */
  readonly tlsOptional: boolean;
}

/** The server that flags, environment or option file name. */
export interface NamedServer extends Server {
  /** Returns other servers of the same account, such as its replicas. @throws UsageError for what TLS cannot check. */
  others(addresses: readonly Address[]): Server;
}

/**
 * Returns the server that flags, environment or option file name, or undefined when none of them names one.
 *
 * A host of a list may have a port of its own; `--port` is for those that have none. The user is by default the one who runs
 * this, as for the mysql client. `VERIFY_CA` and `VERIFY_IDENTITY` without `--ssl-ca` trust the authorities that Node trusts.
 *
 * @throws UsageError when these contradict one another or make no sense; its message contains no password.
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
  // One source says where the server is: a host never meets the socket of another source.
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
  /** What a person calls a setting of this source. */
  nameOf(setting: Setting): string;
}

function switchesOf(flags: ServerFlags): Settings {
  return Object.fromEntries(switchNames.filter((name) => flags[name]).map((name) => [name, "1"]));
}

/** Whether the value of a switch is on; one without a value is. */
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

/** What the environment says of a server that nothing names: the sandbox would not heed it. */
export function strayVariable(env: NodeJS.ProcessEnv): string | undefined {
  return Object.values(variables).find((variable) => env[variable!]);
}

function namesServer({ settings }: Source): boolean {
  return Boolean(settings.host || settings.socket);
}

function rejectContradictions(flags: ServerFlags, url: Settings): void {
  for (const name of [...flagNames, "url", "defaults-file"] as const) {
    // An empty value is mostly a shell variable that is not set; it must not lead to another server.
    if (flags[name] === "") throw new UsageError(`--${name} must not be empty`);
  }
  for (const name of flagNames) {
    if (flags[name] !== undefined && url[name === "socket" ? "host" : name]) {
      throw new UsageError(`--${name} contradicts --url: give one of them`);
    }
  }
  if (flags.host && flags.socket) throw new UsageError("--socket contradicts --host: give one of them");
}

/** Quotes nothing in its errors: what stands in the wrong place may be a password. */
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

/** What MariaDB's switches mean in MySQL's words. */
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
