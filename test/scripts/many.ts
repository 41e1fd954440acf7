/** Runs as many `DO 0` as the argument says, from a generator; prints how many the server executed, and the peak memory. */
import mysql from "mysql2/promise";
import { startSandbox } from "../../lib/command/sandbox.ts";
import { doWork } from "../../lib/mp.ts";
import { myglobals } from "../../lib/myglobals.ts";

const count = Number(process.argv[2]);
const workers = 4;
const sandbox = await startSandbox({ orders: 0 });
myglobals.config = { db: sandbox.db };
await doWork(queries(), workers);
const connection = await mysql.createConnection(sandbox.db);
const [rows] = await connection.query("SHOW GLOBAL STATUS LIKE 'Com_do'");
await connection.end();
await sandbox.stop();
const tries = 1 + workers; // of connections: the sandbox's own and the workers', each with a DO 0
const executed = Number((rows as { Value: string }[])[0]?.Value) - tries;
console.log(JSON.stringify({ executed, peakMiB: Math.round(process.resourceUsage().maxRSS / 1024) }));

function* queries(): Generator<string> {
  for (let n = 0; n < count; n++) yield "DO 0";
}
