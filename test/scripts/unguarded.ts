/** A script that calls `doWork()` or `runCommand()` in worker threads too, because it does not check `isMainThread`. */
import { doWork, myglobals, runCommand } from "../../lib/index.ts";

const queries = ["CREATE TABLE unguarded (id INT)"];

export function workerInit(): void {}

export function workerDo(): void {}

if (myglobals.config.calls === "doWork") await doWork(queries, 1);
else void runCommand(({ workers, options }) => doWork(queries, workers, options)); // not even awaited
