/** `batch`: checks it. */
import type { ParentFeature } from "../../parent/feature.ts";
import { checkCount } from "../../parent/options.ts";

declare module "../../parent/options.ts" {
  interface WorkOptions {
    /**
     * Sends so many queries in one round trip, at the most; each has the outcome that it would have alone. `auto`: as many as
     * take some 5 ms, from 1 to 64. @default 1
     */
    batch?: number | "auto" | undefined;
  }
}

/** So many of the longest texts that go together are 1 MB: every server takes that in one packet. */
export const largest = 100;

export const feature: ParentFeature = {
  begin({ batch = 1 }) {
    if (batch !== "auto") checkCount("queries in a batch", batch, largest);
    return { settings: batch };
  },
};
