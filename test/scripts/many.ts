/**
 * Runs `DO 0` from a generator, in several runs. The first argument is the number of bytes that pad each text. Each further
 * argument is the number of queries of one run. Prints how many queries of each run the server executed, and the peak memory so far.
 */
import mysql from "mysql2/promise";
import { startSandbox } from "../../lib/features/sandbox/sandbox.ts";
import { doWork } from "../../lib/mp.ts";
import { myglobals } from "../../lib/myglobals.ts";

const [bytes = 0, ...counts] = process.argv.slice(2).map(Number);
const workers = 4;
const sandbox = await startSandbox({ orders: 0 });
myglobals.config = { db: sandbox.db };
const connection = await mysql.createConnection(sandbox.db);
const runs: { executed: number; peakMiB: number }[] = [];
for (const count of counts) {
  const before = await executed();
  await doWork(queries(count), workers);
  const tries = workers; // each new connection is tried with a DO 0
  const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024);
  runs.push({ executed: (await executed()) - before - tries, peakMiB });
}
console.log(JSON.stringify(runs));
connection.destroy();
await sandbox.stop();

async function executed(): Promise<number> {
  const [rows] = await connection.query("SHOW GLOBAL STATUS LIKE 'Com_do'");
  return Number((rows as { Value: string }[])[0]?.Value);
}

function* queries(count: number): Generator<string> {
  const text = `DO 0 /* ${"x".repeat(bytes)} */`;
  for (let n = 0; n < count; n++) yield text;
}
