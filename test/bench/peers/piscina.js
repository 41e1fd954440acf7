/** Piscina with mysql2, one connection a thread. Run: piscina.js SQL COUNT THREADS */
import { Piscina } from "piscina";
import { buildQueries, workers } from "./task.js";

const pool = new Piscina({
  filename: new URL("./pool-worker.js", import.meta.url).href,
  minThreads: workers,
  maxThreads: workers,
});
await Promise.all(buildQueries().map((query) => pool.run(query)));
await pool.close();
