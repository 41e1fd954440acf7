/** Authentication plugins. A server gets no more of the password than MySQL's own client would give it. */
import mysql, { type ConnectionOptions } from "mysql2";

type Plugins = NonNullable<ConnectionOptions["authPlugins"]>;

/** Options beside mysql2's. */
export interface AccountOptions {
  /**
   * True to encrypt the password with whatever key the server sends, over TCP without TLS: `--get-server-public-key`.
   * @default false
   */
  getServerPublicKey?: boolean | undefined;
}

/** Rejects the server's RSA key. mysql2 would use any key, and a man in the middle could send his own to get the password. */
function refuseKey(): never {
  const how = "use TLS or a socket, or trust the key that the server sends: --get-server-public-key";
  throw new Error(`The account's password may only go over a secure connection: ${how}`);
}

const { caching_sha2_password: cachingSha2, sha256_password: sha256 } = mysql.authPlugins as unknown as Record<
  string,
  (options: { onServerPublicKey: () => never }) => Plugins[string]
>;
const guarded = {
  caching_sha2_password: cachingSha2!({ onServerPublicKey: refuseKey }),
  sha256_password: sha256!({ onServerPublicKey: refuseKey }),
};

/** Returns plugins that refuse the server's key, or none if they are not needed. Own plugins cost mysql2 a round trip more. */
export function authPluginsFor(options: ConnectionOptions & AccountOptions): Plugins {
  const isSecret = Boolean(options.ssl || options.socketPath);
  return isSecret || options.getServerPublicKey ? {} : guarded;
}

/**
 * Rewrites mysql2's error about an authentication plugin, so that it says which plugin is not supported or must be allowed.
 * mysql2 gives the password format of before MySQL 4.1 no name.
 */
export function explainAccount(error: Error & { readonly code?: string | undefined }): void {
  if (error.code === "MYSQL_CLEAR_PASSWORD_NOT_ENABLED") {
    error.message =
      "The server asks for the password in clear text: allow that with --enable-cleartext-plugin, over TLS or a socket only";
  }
  const [, plugin] = /using unknown plugin (\S*)\. /.exec(error.message) ?? [];
  if (plugin === undefined) return;
  const name = plugin.replace(/^client_/, "") || "mysql_old_password";
  const another =
    name === "ed25519" || name === "parsec"
      ? "; ALTER USER … IDENTIFIED VIA … OR … gives the account one of these besides"
      : "";
  error.message = `The account's authentication plugin, ${name}, is not supported: mysql_native_password and caching_sha2_password are${another}`;
}
