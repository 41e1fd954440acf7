/** A thread that ends in `workerInit()`. */
export function workerInit(): void {
  process.exit(9);
}
