/** The works: for each, its contestants, and the ratios with their targets. */
import { join } from "node:path";
import {
  type Contestant,
  callbacks,
  clientRows,
  myscript,
  myscriptCommand,
  myscriptRows,
  oneThread,
  oneThreadRows,
  original,
  parallel,
  piscina,
  plain,
  slap,
  split,
  type Task,
  textFile,
  tinypool,
} from "./contestants.ts";
import type { Figure, Pair } from "./ratios.ts";
import { here, native, runtimes, withCompileCache } from "./runtime.ts";
import { createRows, readyQuery, type Server } from "./server.ts";

export interface Work {
  readonly id: string;
  readonly title: string;
  readonly unit: "query" | "row";
  /** The figures in its table. @default rate, cpu, memory and wall */
  readonly shows?: readonly Figure[];
  /** Returns the contestants and pairs. The number of queries is multiplied by `scale`. */
  readonly plan: (place: Place, scale: number) => Plan;
  readonly prepare?: (server: Server, scale: number) => Promise<unknown>;
  readonly restore?: (server: Server) => Promise<unknown>;
}

export type Place = Pick<Task, "socketPath" | "directory">;

export interface Plan {
  readonly contestants: readonly Contestant[];
  readonly pairs: readonly Pair[];
}

const select = "SELECT id, quantity, price, total FROM myscript_orders WHERE id = {}";
const update = "UPDATE myscript_orders SET quantity = quantity + 1 WHERE id = {}";
const rowsQueries = 100;

export const works: readonly Work[] = [
  { id: "a", title: "SELECTs by primary key, 4 at a time", unit: "query", plan: selects },
  { id: "b", title: "single-row UPDATEs, autocommit, 4 at a time", unit: "query", plan: updates },
  { id: "c", title: "SELECT SLEEP(0.01), 64 at a time", unit: "query", plan: sleeps },
  { id: "d", title: "rows of five columns, 2 queries at a time", unit: "row", plan: rows, prepare: tableOfRows },
  {
    id: "e",
    title: "100 queries, cold start, 4 at a time",
    unit: "query",
    plan: coldStart,
    shows: ["wall", "cpu", "memory"],
  },
  {
    id: "e",
    title: "cold start until all of 4 have a query",
    unit: "query",
    plan: untilReady,
    shows: ["ready", "memory"],
  },
  {
    id: "h",
    title: "UPDATEs of ranges of 10 rows on a durable server, 4 at a time",
    unit: "query",
    plan: durable,
    prepare: (server) => server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1"),
    restore: (server) => server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 0"),
  },
  { id: "i", title: "queries of 1 ms, 4 at a time", unit: "query", plan: ordinary },
  { id: "f", title: "DO 0 from a generator, 4 at a time", unit: "query", plan: generator },
  { id: "g", title: "single-row UPDATEs from a file: what safety costs, 4 at a time", unit: "query", plan: safety },
];

function selects(place: Place, scale: number): Plan {
  const task: Task = { ...place, sql: select, count: Math.ceil(100_000 * scale), counter: "Com_select", workers: 4 };
  const [python, c] = [original(task), slap(task)];
  const sides = runtimes.map((runtime) => ({
    one: myscript(task, runtime, { threads: 1 }),
    two: myscript(task, runtime, { threads: 2 }),
    four: myscript(task, runtime, { threads: 4 }),
    loop: callbacks(task, runtime),
    batch: [myscript(task, runtime, { threads: 1, batch: 16 }), myscript(task, runtime, { threads: 2, batch: 16 })],
    piscina: piscina(task, runtime),
    pool: oneThread(task, runtime),
  }));
  return {
    contestants: [
      ...sides.flatMap(({ one, two, four, batch }) => [one, two, four, ...batch]),
      python,
      ...sides.flatMap((side) => [side.loop, side.piscina, side.pool]),
      tinypool(task, here),
      parallel(task),
      split(task),
      c,
    ],
    pairs: sides.flatMap(({ one, two, four, batch, loop, piscina, pool }) => [
      { ours: [one], against: loop, figure: "cpu", atMost: 1.3 },
      { ours: [two], against: loop, figure: "cpu", atMost: 1.5 },
      { ours: [two], against: loop, figure: "rate", atLeast: 1 },
      { ours: [two], against: python, figure: "rate", atLeast: 2 },
      { ours: [two], against: python, figure: "cpu", atMost: 0.5 },
      { ours: [four], against: piscina, figure: "rate", atLeast: 2 },
      { ours: [four], against: piscina, figure: "cpu", atMost: 0.5 },
      { ours: [one, two, four], against: pool, figure: "rate", atLeast: 1.15 },
      { ours: [one, two, four], against: pool, figure: "cpu", atMost: 0.8 },
      { ours: [one, two, four], against: c, figure: "rate", atLeast: 0.85 },
      { ours: [one, two, four], against: c, figure: "cpu", atMost: 1.6 },
      { ours: batch, against: c, figure: "rate", atLeast: 1.3 },
    ]),
  };
}

function updates(place: Place, scale: number): Plan {
  const task: Task = { ...place, sql: update, count: Math.ceil(100_000 * scale), counter: "Com_update", workers: 4 };
  const ours = runtimes.map((runtime) => myscript(task, runtime));
  const peers = [original(task), piscina(task, here), tinypool(task, here), oneThread(task, here)];
  // Not mariadb-slap, because its clients all run the same queries at the same time and would wait for each other's row locks.
  return { contestants: [...ours, ...peers, parallel(task), split(task)], pairs: [] };
}

function safety(place: Place, scale: number): Plan {
  const task: Task = { ...place, sql: update, count: Math.ceil(100_000 * scale), counter: "Com_update", workers: 4 };
  const sides = runtimes.map((runtime) => ({
    without: myscriptCommand(task, runtime),
    safe: [
      myscriptCommand(task, runtime, `--joblog ${join(place.directory, "joblog-$$")}`),
      myscriptCommand(task, runtime, "--ledger bench_ledger_$$"),
    ],
  }));
  return {
    contestants: sides.flatMap(({ without, safe }) => [without, ...safe]),
    pairs: sides.flatMap(({ without, safe }) =>
      safe.flatMap((each) => [
        { ours: [each], against: without, figure: "rate" },
        { ours: [each], against: without, figure: "cpu" },
      ]),
    ),
  };
}

function durable(place: Place, scale: number): Plan {
  const sql = "UPDATE myscript_orders SET quantity = quantity + 1 WHERE id >= {} ORDER BY id LIMIT 10";
  const task: Task = { ...place, sql, count: Math.ceil(10_000 * scale), counter: "Com_update", workers: 4 };
  return besideTheLoop(task);
}

function ordinary(place: Place, scale: number): Plan {
  const task: Task = {
    ...place,
    sql: "SELECT SLEEP(0.001), {}",
    count: Math.ceil(20_000 * scale),
    counter: "Com_select",
    workers: 4,
  };
  return besideTheLoop(task);
}

/** Compares the common ways to use this project with mysql2's callbacks and the peers. */
function besideTheLoop(task: Task): Plan {
  const loop = callbacks(task, here);
  const ours = [myscript(task, here), myscript(task, here, { batch: "auto" })];
  const peers = [loop, original(task), piscina(task, here), oneThread(task, here)];
  return {
    contestants: [...ours, ...peers],
    pairs: ours.map((each) => ({ ours: [each], against: loop, figure: "rate" })),
  };
}

function sleeps(place: Place, scale: number): Plan {
  const sql = "SELECT SLEEP(0.01)";
  const task: Task = { ...place, sql, count: Math.ceil(12_800 * scale), counter: "Com_select", workers: 64 };
  const ideal = { name: "the ideal, 64 / 0.01 s", value: 6400 };
  const [pool, python] = [piscina(task, here), original(task)];
  const ours = runtimes.map((runtime) => myscript(task, runtime, { threads: 2 }));
  return {
    contestants: [...ours, python, pool, oneThread(task, here)],
    pairs: ours.flatMap((each) => [
      { ours: [each], against: ideal, figure: "rate", atLeast: 0.9 },
      { ours: [each], against: pool, figure: "memory", atMost: 0.15 },
    ]),
  };
}

function rows(place: Place, scale: number): Plan {
  const rowsAQuery = Math.ceil((1_000_000 * scale) / rowsQueries);
  const sql = "SELECT * FROM bench_rows WHERE id BETWEEN";
  const task: Task = { ...place, sql, count: rowsQueries, counter: "Com_select", workers: 2, rowsAQuery };
  const ranges = Array.from({ length: rowsQueries }, (_, i) => [i * rowsAQuery + 1, (i + 1) * rowsAQuery]);
  const text = ranges.map(([low, high]) => `${sql} ${low} AND ${high};\n`).join("");
  const file = textFile(place.directory, `rows-${rowsAQuery}.sql`, text);
  const client = clientRows(task, file);
  const sides = runtimes.map((runtime) => ({
    ours: myscriptRows(task, runtime, 2, file),
    alone: myscriptRows(task, runtime, 1, file),
    mysql2: oneThreadRows(task, runtime, file),
  }));
  return {
    contestants: [...sides.flatMap(({ ours, alone, mysql2 }) => [ours, alone, mysql2]), client],
    pairs: sides.flatMap(({ ours, alone, mysql2 }) => [
      { ours: [ours], against: mysql2, figure: "rate", atLeast: 1.4 },
      { ours: [ours], against: alone, figure: "rate", atLeast: 1.4 },
      { ours: [ours], against: client, figure: "rate", atLeast: 0.8 },
    ]),
  };
}

function tableOfRows(server: Server, scale: number): Promise<void> {
  return createRows(server, Math.ceil(1_000_000 * scale));
}

function coldStart(place: Place): Plan {
  const task: Task = { ...place, sql: select, count: 100, counter: "Com_select", workers: 4 };
  const python = original(task);
  const ours = runtimes.map((runtime) => myscript(task, runtime));
  // Compare it with a compile cache, too, because Python always caches the bytecode of its modules.
  const cached = native && myscript(task, withCompileCache(native, join(place.directory, "compile-cache")));
  return {
    contestants: [
      ...ours,
      ...(cached ? [cached] : []),
      python,
      plain(task, here),
      piscina(task, here),
      oneThread(task, here),
    ],
    pairs: [...ours.slice(1), ...(cached ? [cached] : [])].map((side) => {
      return { ours: [side], against: python, figure: "wall", atMost: 2.5 };
    }),
  };
}

function untilReady(place: Place): Plan {
  const counter = "Com_insert_select";
  const task: Task = { ...place, sql: readyQuery, count: 4, counter, workers: 4, showsReady: true };
  const [tsx, javascript] = [myscript(task, here), plain(task, here)];
  const ours = native ? [tsx, myscript(task, native)] : [tsx];
  return {
    contestants: [...ours, javascript, original(task), piscina(task, here)],
    pairs: [{ ours: [tsx], against: javascript, figure: "ready", atMost: 1.5 }],
  };
}

function generator(place: Place, scale: number): Plan {
  const task = { ...place, sql: "DO 0", counter: "Com_do", workers: 4 };
  const run = (count: number) => {
    const contestant = myscript({ ...task, count }, here);
    return { ...contestant, name: `${contestant.name}, ${count.toLocaleString("en")} queries` };
  };
  const [few, many] = [run(Math.ceil(100_000 * scale)), run(Math.ceil(5_000_000 * scale))];
  return { contestants: [few, many], pairs: [{ ours: [many], against: few, figure: "memory", atMost: 1.2 }] };
}
