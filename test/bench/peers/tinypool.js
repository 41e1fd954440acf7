/** Tinypool with mysql2, one connection a thread. Run: tinypool.js SQL COUNT THREADS */
import Tinypool from "tinypool";
import { buildQueries, workers } from "./task.js";

const pool = new Tinypool({
  filename: new URL("./pool-worker.js", import.meta.url).href,
  minThreads: workers,
  maxThreads: workers,
});
await Promise.all(buildQueries().map((query) => pool.run(query)));
await pool.destroy();
