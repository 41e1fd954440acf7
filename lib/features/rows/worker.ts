import type { WorkerFeature } from "../../worker/feature.ts";
import { RowsOut } from "./rows-out.ts";

export const feature: WorkerFeature = {
  extend(thread) {
    const rows = new RowsOut((lines) => thread.postFeature("rows", lines, [lines.buffer as ArrayBuffer]));
    thread.rows = rows;
    thread.onFeature.set("rows", (bytes) => rows.rowsConsumed(bytes as number));
  },
};
