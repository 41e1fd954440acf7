/** A script whose unit names how to end its thread or to fail. Any other unit is done after 2 ms. */
import { setTimeout as sleep } from "node:timers/promises";

export function workerInit(): void {}

export async function workerDo(unit: string): Promise<void> {
  if (unit === "fail") throw new Error("the true reason");
  if (unit === "nothing") return Promise.reject();
  await sleep(2);
  if (unit === "exit") process.exit(7);
  if (unit === "throw") {
    setTimeout(() => {
      throw new Error("thrown in a timer");
    });
    await sleep(60_000);
  }
  if (unit === "reject") {
    Promise.reject(new Error("rejected and never awaited"));
    await sleep(60_000);
  }
  if (unit === "memory") for (const hoard: number[][] = []; ; ) hoard.push(new Array(1_000_000).fill(0.5)); // numbers, because the garbage collector does not trace them
}
