/** A script that records the order of the units. The unit `endAt` ends its thread the first time. */
import { myglobals } from "../../lib/myglobals.ts";

export function workerInit(): void {}

export async function workerDo(unit: number): Promise<void> {
  const { order, endAt } = myglobals.config as unknown as { order: Int32Array; endAt: number };
  if (unit === endAt && Atomics.exchange(order, 0, 1) === 0) process.exit(7);
  order[unit] = Atomics.add(order, order.length - 1, 1);
}
