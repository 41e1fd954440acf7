/** The features of this copy, in the order of their set-up. Delete a line and its folder to do without. */
import type { Feature } from "../command/feature.ts";
import { batch } from "./batch/feature.ts";
import { joblog } from "./joblog/feature.ts";
import { lag } from "./lag/feature.ts";
import { ledger } from "./ledger/feature.ts";
import { rows } from "./rows/feature.ts";
import { sandbox } from "./sandbox/feature.ts";
import { sqlFiles } from "./sql-files/feature.ts";
import { steering } from "./steering/feature.ts";
import { throttle } from "./throttle/feature.ts";

export const features: readonly Feature[] = [sqlFiles, sandbox, batch, ledger, throttle, lag, steering, joblog, rows];
