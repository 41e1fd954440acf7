/** Passes rows from the threads to the caller of `doWork()`. */
import type { ParentFeature } from "../../parent/feature.ts";

declare module "../../parent/options.ts" {
  interface WorkOptions {
    /**
     * Callback for the rows of SELECT, SHOW, CALL and RETURNING, as whole lines of NDJSON: `{"seq":12,"row":{…}}`. The queries
     * wait while the promise that it returns is pending. A script's own `workerDo()` yields no such rows.
     */
    onRows?: ((lines: Uint8Array) => void | Promise<void>) | undefined;
  }
}

export const feature: ParentFeature = {
  begin({ onRows }, { guard }) {
    const underWay = new Set<Promise<void>>();
    return {
      settings: true,
      message(data, answer) {
        const lines = data as Uint8Array;
        const { length: bytes } = lines; // read before the callback, which may transfer the bytes away
        const taking = guard(() => onRows?.(lines), "Cannot take the rows: ").then(() => {
          answer(bytes);
          underWay.delete(taking);
        });
        underWay.add(taking);
      },
      end: () => Promise.all(underWay),
    };
  },
};
