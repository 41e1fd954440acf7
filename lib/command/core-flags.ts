/** The core's flags, which every copy has. */
import { limits } from "../parent/options.ts";
import type { FlagTable, ReadFlags } from "./flags.ts";
import { count, seconds, shard } from "./flags.ts";

export const core = {
  workers: {
    letter: "j",
    value: "N",
    read: count(1, limits.workers),
    default: 4,
    group: "work",
    help: "queries at a time",
  },
  threads: {
    value: "N",
    read: count(1, limits.threads),
    group: "work",
    help: "worker threads that carry them (one a processor; half beside the server)",
  },
  shard: { value: "I/N", read: shard, group: "work", help: "every N-th query only, beginning with the I-th" },
  "dry-run": { group: "work", help: "only print the queries that would run, one a line" },
  url: { value: "mysql://user@host:3306/database", group: "server", namesServer: true, help: "or its parts:" },
  host: { letter: "h", value: "H", group: "server", namesServer: true },
  port: { letter: "P", value: "N", group: "server" },
  socket: { letter: "S", value: "F", group: "server", namesServer: true },
  user: { letter: "u", value: "U", group: "server" },
  database: { letter: "D", value: "D", group: "server", help: "H may be several: db1,db2:3307,[::1]:3308" },
  "ssl-mode": { value: "MODE", group: "server", help: "DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY" },
  "ssl-ca": { value: "F", group: "server" },
  "ssl-cert": { value: "F", group: "server" },
  "ssl-key": { value: "F", group: "server", help: "certificates to trust; the client's own" },
  compress: { letter: "C", group: "server", help: "compress what is sent" },
  "get-server-public-key": { group: "server" },
  "enable-cleartext-plugin": {
    group: "server",
    help: "as for the client: RSA, clear password",
  },
  "local-infile": { group: "server", help: "let LOAD DATA LOCAL INFILE read the file that it names" },
  "init-command": { value: "SQL", repeats: true, group: "server", help: "run on every connection when it is made" },
  "connect-timeout": {
    value: "S",
    read: seconds,
    default: 60,
    group: "server",
    help: "how long to try to get a connection, or a server that takes writes",
  },
  retries: {
    value: "N",
    read: count(0, limits.retries),
    default: 10,
    group: "failures",
    help: "how often a query is sent again after a deadlock and the like",
  },
  timeout: {
    value: "S",
    read: seconds,
    group: "failures",
    help: "a query that runs longer is interrupted, and has failed",
  },
  "max-failures": { value: "N", read: count(1), group: "failures" },
  "max-warnings": {
    value: "N",
    read: count(1),
    group: "failures",
    help: "start nothing more after so many; notes are warnings, too",
  },
  idempotent: { group: "failures", help: "running a query twice is harmless: send again what may have run" },
  json: { group: "output", help: "the summary on stdout, as one line of JSON, after the rows" },
  quiet: { letter: "q", group: "output", help: "no bar, and a summary only when something went wrong" },
} as const satisfies FlagTable;

/** Flags at the end of the help. */
export const last = { help: { group: "output" }, version: { group: "output", help: "" } } as const satisfies FlagTable;

/** Values of the core's flags. */
export type CoreFlags = ReadFlags<typeof core & typeof last>;
