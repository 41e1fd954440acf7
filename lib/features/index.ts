/** The features of this copy, in the order of their set-up. Delete a line and its folder to do without. */
import type { FeatureEntry } from "../shared/feature-entry.ts";

export const features: readonly FeatureEntry[] = [
  { name: "sql-files", command: () => import("./sql-files/feature.ts") },
  { name: "sandbox", command: () => import("./sandbox/feature.ts") },
  {
    name: "ledger",
    option: "ledger",
    command: () => import("./ledger/feature.ts"),
    parent: () => import("./ledger/parent.ts"),
    worker: () => import("./ledger/worker.ts"),
  },
  {
    name: "batch",
    option: "batch",
    command: () => import("./batch/feature.ts"),
    parent: () => import("./batch/parent.ts"),
    worker: () => import("./batch/worker.ts"),
  },
  { name: "throttle", command: () => import("./throttle/feature.ts") },
  { name: "lag", command: () => import("./lag/feature.ts") },
  { name: "steering", command: () => import("./steering/feature.ts") },
  { name: "joblog", command: () => import("./joblog/feature.ts") },
  {
    name: "rows",
    option: "onRows",
    command: () => import("./rows/feature.ts"),
    parent: () => import("./rows/parent.ts"),
    worker: () => import("./rows/worker.ts"),
  },
  { name: "bundle", startup: () => import("./bundle/bundle.ts") },
];
