/** Starts a sandbox, prints where it is, and exits without ending it when standard input ends. */
import { startSandbox } from "../../lib/features/sandbox/sandbox.ts";

const { db, pid } = await startSandbox({ orders: 10 });
console.log(JSON.stringify({ db, pid }));
process.stdin.resume().on("end", () => process.exit());
