/** Checks the option `batch`. */
import type { ParentFeature } from "../../parent/feature.ts";
import { checkCount } from "../../parent/options.ts";

declare module "../../parent/options.ts" {
  interface WorkOptions {
    /**
     * Most queries in one round trip. Each has the outcome that it would have alone. `auto`: as many as take some 5 ms, from 1 to
     * 64. @default 1
     */
    batch?: number | "auto" | undefined;
  }
}

/** Largest batch. With the longest texts that are batched it has 1 MB, which every server accepts in one packet. */
export const largest = 100;

export const feature: ParentFeature = {
  begin({ batch = 1 }) {
    if (batch !== "auto") checkCount("queries in a batch", batch, largest);
    return { settings: batch };
  },
};
