/** The ledger of a run, in the parent. It is opened before the threads start, and read in step with the input. */
import { myglobals, whyNoServer } from "../../myglobals.ts";
import { type DatabaseError, isReadOnly, isTransient } from "../../mysql/errors.ts";
import { reach } from "../../mysql/reach.ts";
import { keepsTransaction } from "../../mysql/statement.ts";
import type { ParentFeature } from "../../parent/feature.ts";
import { Reconnecting } from "../../parent/reconnecting.ts";
import { withCauses } from "../../shared/causes.ts";
import { sqlOf } from "../../shared/query.ts";
import { knownRows } from "./known-rows.ts";
import { ledgerCheckpoints } from "./ledger-checkpoints.ts";
import { type Ask, createLedger, openLedger } from "./ledger-table.ts";
import { counted, type IdColumn, type LedgerSettings } from "./row.ts";

declare module "../../parent/options.ts" {
  interface WorkOptions {
    /**
     * Table of the ledger, `table` or `database.table`. It is created if it is missing. Each query runs exactly once, in one
     * transaction with the insert of its seq, or its key, into this table. A query that is in it is done. Use one table per batch.
     */
    ledger?: string | undefined;
  }
  interface Summary {
    /** With a ledger: queries with an implicit commit, such as DDL. They were recorded after they ran. */
    selfCommitted?: number;
  }
}

export const feature: ParentFeature = {
  async begin(all, { log, failure, waits }) {
    const { ledger, script, hosts, connectTimeoutSeconds, retries, signal, dryRun } = all;
    const { batch = 1 } = all as { readonly batch?: unknown }; // an option of another feature, which this copy may lack
    if (script !== undefined)
      throw new TypeError(
        "Cannot use a ledger with a workerDo() or workerInit() of the script's own: its work may be on another connection, or commit by itself, where the ledger's transaction does not reach",
      );
    const missing = whyNoServer(); // a dry run of files needs none
    if (missing) throw new TypeError(missing);
    const connecting = { hosts, connectTimeoutSeconds, initCommands: [], ...(signal && { signal }), log };
    const timeoutMs = connectTimeoutSeconds * 1000;
    const connect = (retries: number) =>
      new Reconnecting(myglobals.config.db, { ...connecting, retries }, "the ledger");
    const connection = connect(retries);
    const ask: Ask = (text) => connection.ask(text, timeoutMs).catch((error) => Promise.reject(named(error)));
    const options = { readsOnly: dryRun !== undefined, deletes: batch !== 1, log };
    const table = await writing((ask) => openLedger(ledger!, ask, options)).catch((error) => {
      throw failure(error);
    });
    const counts = new Int32Array(new SharedArrayBuffer(8));
    const create = async (column: IdColumn) => {
      if (!dryRun) await writing((ask) => createLedger(table.name, column, ask, options));
    };
    return {
      settings: { table: table.name, counts } satisfies LedgerSettings,
      standsAlone: "with a ledger each query must stand by itself",
      decides: (unit) => keepsTransaction(sqlOf(unit)),
      known: knownRows(table, ask, create),
      checkpoints: ledgerCheckpoints(table.name, ask, options.readsOnly),
      summary: (earlier) => ({
        selfCommitted: counts[counted.selfCommitted]!,
        earlier: { ...earlier, done: earlier.done + counts[counted.alreadyInLedger]! },
      }),
      end: () => connection.close(),
    };

    /** Runs statements on a new connection. Waits for a server that takes writes, as the workers do. */
    async function writing<Result>(run: (ask: Ask) => Promise<Result>): Promise<Result> {
      const connection = connect(0);
      const attempt = () =>
        run((text) => connection.ask(text, timeoutMs)).catch(async (error) => {
          await connection.leave(); // another host may take writes
          throw error;
        });
      try {
        return await reach(attempt, {
          hosts: Math.max(1, hosts.length),
          timeoutMs,
          mayPass: (error) => isTransient(error) || isReadOnly(error),
          signal,
          onWait({ message }) {
            log(`the ledger: ${message}: trying again for up to ${connectTimeoutSeconds} s`);
            waits.begin("ledger", message);
          },
        });
      } catch (error) {
        throw named(error as DatabaseError);
      } finally {
        waits.end("ledger");
        await connection.close();
      }
    }

    function named(error: DatabaseError): Error {
      const message = `Cannot use the ledger ${JSON.stringify(ledger)}: ${withCauses(error as Error)}`;
      return Object.assign(new Error(message, { cause: error }), { errno: error.errno });
    }
  },
};
