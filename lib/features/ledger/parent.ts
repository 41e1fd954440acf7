/** The ledger of a run, before its threads are started. */
import { myglobals } from "../../myglobals.ts";
import { keepsTransaction } from "../../mysql/statement.ts";
import type { ParentFeature } from "../../parent/feature.ts";
import { sqlOf } from "../../shared/query.ts";
import { openLedger } from "./ledger-table.ts";

declare module "../../parent/options.ts" {
  interface WorkOptions {
    /**
     * Runs each query exactly once: in one transaction with the insert of its seq into this table, `table` or `database.table`,
     * which is created when missing. A query that it has is done; one batch, one table.
     */
    ledger?: string | undefined;
  }
}

export const feature: ParentFeature = {
  async begin(all, { log, failure, waits }) {
    const { ledger, script, hosts, connectTimeoutSeconds, signal } = all;
    const { batch = 1 } = all as { readonly batch?: unknown }; // where this copy has batches
    if (script !== undefined)
      throw new TypeError(
        "Cannot use a ledger with a workerDo() or workerInit() of the script's own: it takes SQL queries, on myglobals.config.db",
      );
    const onWait = ({ message }: { readonly message: string }) => {
      log(`the ledger: ${message}: trying again for up to ${connectTimeoutSeconds} s`);
      waits.begin("ledger", message);
    };
    const options = {
      hosts,
      connectTimeoutMs: connectTimeoutSeconds * 1000,
      deletes: batch !== 1,
      signal,
      log,
      onWait,
    };
    return {
      settings: await openLedger(ledger!, myglobals.config.db, options)
        .catch((error) => {
          throw failure(error);
        })
        .finally(() => waits.end("ledger")),
      standsAlone: "with a ledger each query must stand by itself",
      decides: (unit) => keepsTransaction(sqlOf(unit)),
      summary: ({ selfCommitted }) => ({ selfCommitted }),
    };
  },
};
