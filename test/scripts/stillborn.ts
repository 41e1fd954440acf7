/** A script whose threads end in `workerInit()`. */
export function workerInit(): void {
  process.exit(9);
}
