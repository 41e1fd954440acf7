/** A script that calls what starts a run, without looking whether it is in a worker thread. */
import { doWork, myglobals, runCommand } from "../../lib/index.ts";

const queries = ["CREATE TABLE unguarded (id INT)"];

export function workerInit(): void {}

export function workerDo(): void {}

if (myglobals.config.calls === "doWork") await doWork(queries, 1);
else void runCommand(({ workers, options }) => doWork(queries, workers, options)); // not even awaited
