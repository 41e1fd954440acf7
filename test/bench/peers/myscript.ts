/** This project, with the steps of the template. Run: myscript.ts SQL COUNT WORKERS [THREADS [BATCH]] */
import { doWork, myglobals, type WorkOptions } from "../../../lib/index.ts";

const [sql = "", count, workers, threads, batch] = process.argv.slice(2);

function* buildQueries(): Generator<string> {
  for (let i = 0; i < Number(count); i++) yield sql.replace("{}", String(1 + ((i * 7919) % 200_000)));
}

async function main(): Promise<number> {
  myglobals.config = { db: { socketPath: process.env.MYSQL_UNIX_PORT!, user: "root", database: "myscript" } };
  const options: WorkOptions = {
    ...(threads && { threads: Number(threads) }),
    ...(batch && { batch: batch === "auto" ? batch : Number(batch) }),
  };
  const summary = await doWork(buildQueries(), Number(workers), options);
  return summary.done === summary.total ? 0 : 1;
}

process.exitCode = await main();
