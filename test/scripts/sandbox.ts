/** Starts a sandbox and prints its `db` and `pid`. When standard input ends, exits without stopping the sandbox. */
import { startSandbox } from "../../lib/features/sandbox/sandbox.ts";

const { db, pid } = await startSandbox({ orders: 10 });
console.log(JSON.stringify({ db, pid }));
process.stdin.resume().on("end", () => process.exit());
