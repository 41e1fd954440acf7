/** The ledger of a run, in the parent: opened before the threads are started, and read beside the input. */
import { myglobals } from "../../myglobals.ts";
import type { DatabaseError } from "../../mysql/errors.ts";
import { reach, untilAborted } from "../../mysql/reach.ts";
import { keepsTransaction } from "../../mysql/statement.ts";
import type { ParentFeature } from "../../parent/feature.ts";
import { Reconnecting } from "../../parent/reconnecting.ts";
import { withCauses } from "../../shared/causes.ts";
import { sqlOf } from "../../shared/query.ts";
import { KnownRows } from "./known-rows.ts";
import { LedgerNotes } from "./ledger-notes.ts";
import { type Ask, openLedger } from "./ledger-table.ts";

declare module "../../parent/options.ts" {
  interface WorkOptions {
    /**
     * Runs each query exactly once: in one transaction with the insert of its seq, or its key, into this table, `table` or
     * `database.table`, which is created when missing. A query that it has is done; one batch, one table.
     */
    ledger?: string | undefined;
  }
}

export const feature: ParentFeature = {
  async begin(all, { log, failure }) {
    const { ledger, script, hosts, connectTimeoutSeconds, retries, signal } = all;
    const { batch = 1 } = all as { readonly batch?: unknown }; // where this copy has batches
    if (script !== undefined)
      throw new TypeError(
        "Cannot use a ledger with a workerDo() or workerInit() of the script's own: its work may be on another connection, or commit by itself, where the ledger's transaction does not reach",
      );
    const connecting = { hosts, connectTimeoutSeconds, initCommands: [], ...(signal && { signal }), log };
    const timeoutMs = connectTimeoutSeconds * 1000;
    const connect = (retries: number) =>
      new Reconnecting(myglobals.config.db, { ...connecting, retries }, "the ledger");
    const opening = connect(0);
    const connection = connect(retries);
    const named = (error: unknown) => {
      const message = `Cannot use the ledger ${JSON.stringify(ledger)}: ${withCauses(error as Error)}`;
      return Object.assign(new Error(message, { cause: error }), { errno: (error as DatabaseError).errno });
    };
    const askLater: Ask = (text) =>
      connection.ask(text, timeoutMs).catch((error) => {
        throw named(error);
      });
    const options = { deletes: batch !== 1, log };
    try {
      const open = () => openLedger(ledger!, (text) => opening.ask(text, timeoutMs), options);
      const table = await reach(open, { timeoutMs, ...untilAborted(signal) });
      return {
        settings: table.name,
        standsAlone: "with a ledger each query must stand by itself",
        decides: (unit) => keepsTransaction(sqlOf(unit)),
        known: new KnownRows(table, askLater, options),
        notes: new LedgerNotes(table.name, askLater),
        summary: ({ selfCommitted }) => ({ selfCommitted }),
        end: () => connection.close(),
      };
    } catch (error) {
      throw failure(named(error));
    } finally {
      await opening.close();
    }
  },
};
