/** TLS settings: the mode, the authorities to trust, and the client's certificate. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { SslOptions } from "mysql2";
import { UsageError, why } from "./errors.ts";

/** Value of a setting, and its name for messages. */
export interface Picked {
  readonly value: string;
  readonly name: string;
}

export const tlsNames = ["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"] as const;
const modes = ["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"] as const;
type Mode = (typeof modes)[number];

/** Reads the TLS settings. @throws UsageError for an unknown mode, and for files without a valid certificate or its key. */
export function tlsOf(pick: (setting: (typeof tlsNames)[number]) => Picked | undefined): {
  mode: Mode;
  ssl: SslOptions;
} {
  const ca = read(pick("ssl-ca"), "certificate", (pem) => new X509Certificate(pem));
  const [certificate, key] = [pick("ssl-cert"), pick("ssl-key")];
  if (!certificate !== !key) {
    const [given, missing] = certificate ? [certificate, "ssl-key"] : [key!, "ssl-cert"];
    throw new UsageError(`${given.name} needs --${missing}: a client's certificate and its key go together`);
  }
  const cert = read(certificate, "certificate", (pem) => new X509Certificate(pem));
  const privateKey = read(key, "private key without a passphrase", (pem) => createPrivateKey(pem));
  if (cert && !new X509Certificate(cert).checkPrivateKey(createPrivateKey(privateKey!))) {
    throw new UsageError(
      `Cannot use ${key!.name} ${JSON.stringify(key!.value)}: it is not the key of ${certificate!.name}`,
    );
  }
  const mode = parseMode(pick("ssl-mode")) ?? (ca ? "VERIFY_CA" : "PREFERRED");
  const ssl = {
    rejectUnauthorized: mode.startsWith("VERIFY"),
    verifyIdentity: mode === "VERIFY_IDENTITY",
    ...(ca && { ca }),
    ...(cert && { cert, key: privateKey! }),
  };
  return { mode, ssl };
}

function parseMode(picked: Picked | undefined): Mode | undefined {
  if (picked === undefined) return undefined;
  const mode = modes.find((name) => name === picked.value.toUpperCase());
  if (mode) return mode;
  const wanted = "DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY";
  throw new UsageError(`${picked.name} must be ${wanted}, not ${JSON.stringify(picked.value)}`);
}

/** Reads a PEM file. @param check throws if the content is invalid. */
function read(picked: Picked | undefined, what: string, check: (pem: string) => unknown): string | undefined {
  if (picked === undefined) return undefined;
  try {
    const pem = readFileSync(picked.value, "utf8");
    check(pem);
    return pem;
  } catch (error) {
    const { code = "", syscall } = error as NodeJS.ErrnoException;
    const reason = syscall === undefined && code.startsWith("ERR_") ? `it holds no ${what} in PEM format` : why(error);
    throw new UsageError(`Cannot use ${picked.name} ${JSON.stringify(picked.value)}: ${reason}`, { cause: error });
  }
}
