import assert from "node:assert/strict";
import { test } from "node:test";
import { doWork } from "../lib/mp.ts";
import { findUncloneable, myglobals, typedGlobals } from "../lib/myglobals.ts";
import { useDatabase } from "./database.ts";

const { db } = await useDatabase();

test("myglobals: a worker's workerInit() sees a copy of each value, and the same SharedArrayBuffer", async () => {
  const seen = new SharedArrayBuffer(8);
  myglobals.config = { db, step: 7 };
  myglobals.seen = seen;
  const script = new URL("./scripts/globals.ts", import.meta.url);
  const summary = await doWork(["unit"], 3, { script });
  assert.equal(summary.done, 1);
  const [inits, dones] = new Int32Array(seen);
  assert.ok(
    inits === 7 || inits === 14 || inits === 21,
    "each workerInit() saw the step; a late one is not run any more",
  );
  assert.equal(dones, 7, "one workerDo()");
  assert.equal(myglobals.config.step, 7, "a worker's change of its copy stays there");
  delete myglobals.seen;
});

test("typedGlobals() is myglobals with types for the user's own values", () => {
  const typed = typedGlobals<{ region: string }>();
  typed.config = { db, region: "eu" };
  assert.equal(typed.config.region.toUpperCase(), "EU");
  assert.equal(myglobals.config.region, "eu");
  // @ts-expect-error: the region is missing
  typed.config = { db };
});

test("myglobals: a function is refused before the run starts, with its path", async () => {
  myglobals.config = { db: { ...db, typeCast: () => null } };
  await assert.rejects(doWork(["DO 0"]), {
    name: "TypeError",
    message: "myglobals.config.db.typeCast is a function: set it in workerInit()",
  });
  myglobals.config = { db };
});

test("findUncloneable() names the first value that cannot be cloned", () => {
  const cyclic: Record<string, unknown> = { list: [1, { name: Symbol("x") }] };
  cyclic.self = cyclic;
  assert.equal(findUncloneable(cyclic), "myglobals.list[1].name is a symbol");
  assert.equal(findUncloneable({ map: new Map([["a", () => 1]]) }), "myglobals.map.a is a function");
  assert.equal(findUncloneable({ weak: new WeakMap() }), "myglobals.weak is a WeakMap that cannot be copied");
  assert.equal(
    findUncloneable({ date: new Date(), bytes: Buffer.from("x"), shared: new SharedArrayBuffer(1) }),
    undefined,
  );
});
