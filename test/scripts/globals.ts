/** A script that adds `config.step` to shared memory: to [0] in workerInit(), to [1] in workerDo(). */
import { myglobals } from "../../lib/myglobals.ts";

const seen = new Int32Array(myglobals.seen as SharedArrayBuffer);
const step = myglobals.config.step as number;

export function workerInit(): void {
  Atomics.add(seen, 0, step);
  myglobals.config.step = -1;
}

export function workerDo(): void {
  Atomics.add(seen, 1, step);
}
