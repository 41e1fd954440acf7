/** The features of this copy, in the order of their set-up and of wrapping. Delete an entry, its folder, and what of your scripts imports it. */
import type { FeatureEntry } from "../shared/feature-entry.ts";

export const features: readonly FeatureEntry[] = [
  {
    name: "sql-files",
    about: "queries from SQL files or standard input",
    command: () => import("./sql-files/feature.ts"),
  },
  {
    name: "sandbox",
    about: "a private throwaway server if you name none",
    command: () => import("./sandbox/feature.ts"),
  },
  {
    name: "my-cnf",
    about: "--defaults-file, ~/.my.cnf: the clients' options",
    command: () => import("./my-cnf/feature.ts"),
  },
  {
    name: "ledger",
    about: "--ledger: each query exactly once, by a table",
    option: "ledger",
    command: () => import("./ledger/feature.ts"),
    parent: () => import("./ledger/parent.ts"),
    worker: () => import("./ledger/worker.ts"),
  },
  {
    name: "batch",
    about: "--batch: small queries in one round trip",
    option: "batch",
    command: () => import("./batch/feature.ts"),
    parent: () => import("./batch/parent.ts"),
    worker: () => import("./batch/worker.ts"),
  },
  {
    name: "throttle",
    about: "--rate, --max-load: room for other work",
    command: () => import("./throttle/feature.ts"),
  },
  {
    name: "pause",
    about: "--pause-file, --pause-query: by who is on call",
    command: () => import("./pause/feature.ts"),
  },
  {
    name: "lag",
    about: "--max-lag: pauses while a replica is behind",
    command: () => import("./lag/feature.ts"),
  },
  {
    name: "steering",
    about: "--control, keys: pause or change a run",
    command: () => import("./steering/feature.ts"),
  },
  {
    name: "joblog",
    about: "--joblog: outcomes in a file, to resume from",
    command: () => import("./joblog/feature.ts"),
  },
  {
    name: "rows",
    about: "--rows: rows of queries on stdout, as NDJSON",
    option: "onRows",
    command: () => import("./rows/feature.ts"),
    parent: () => import("./rows/parent.ts"),
    worker: () => import("./rows/worker.ts"),
  },
  {
    name: "ranges",
    about: "ranges(): a table in ranges of its key",
    script: () => import("./ranges/walk.ts"),
  },
  {
    name: "bundle",
    about: "a fast start on Node",
    startup: () => import("./bundle/bundle.ts"),
  },
];
