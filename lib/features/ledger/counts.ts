/** Counts of a ledger's queries, in memory that all threads share. */
const names = ["selfCommitted", "alreadyInLedger"] as const;

export class LedgerCounts {
  readonly shared: SharedArrayBuffer;
  readonly #int32: Int32Array;

  constructor(shared = new SharedArrayBuffer(names.length * 4)) {
    this.shared = shared;
    this.#int32 = new Int32Array(shared);
  }

  add(name: (typeof names)[number]): void {
    Atomics.add(this.#int32, names.indexOf(name), 1);
  }

  read(): Record<(typeof names)[number], number> {
    const [selfCommitted, alreadyInLedger] = this.#int32 as unknown as [number, number];
    return { selfCommitted, alreadyInLedger };
  }
}

/** What the ledger's part in the parent gives to its part in each thread. */
export interface LedgerSettings {
  /** Name of the ledger's table, quoted as SQL. */
  readonly table: string;
  readonly counts: SharedArrayBuffer;
}
