import assert from "node:assert/strict";
import { test } from "node:test";
import { Pace } from "../lib/parent/pace.ts";

/** Returns the time of a query in seconds, for a random number from 0 to 1. */
type Duration = (random: number) => number;

const runs: [name: string, workers: number, queries: number, duration: Duration][] = [
  ["a million fast queries", 16, 1_000_000, (random) => 0.01 * random],
  ["a few long queries among many short ones", 8, 20_000, (random) => (random < 0.001 ? 10 : 0.05 * random)],
  ["slow queries on many workers", 16, 200, (random) => 20 + 20 * random],
  ["slow queries that take the same time", 16, 400, () => 20],
  ["few queries", 4, 40, (random) => 0.5 + random],
];

for (const [name, workers, queries, duration] of runs) {
  test(`Pace estimates a time left that counts down, and comes true: ${name}`, () => {
    const { told, end } = simulate(workers, queries, duration);
    const times = told.filter(({ left }) => left !== undefined);
    assert.ok(times.length > 0.4 * told.length);
    const ups = times.filter(({ left }, index) => index > 0 && left! > times[index - 1]!.left! + 0.5);
    assert.ok(ups.length <= 4, `${ups.length} times up`);
    for (const { seconds, left } of times) {
      const truth = end - seconds;
      assert.ok(Math.abs(left! - truth) < 0.35 * truth + 5, `${left} s left, in truth ${truth}`);
    }
  });
}

test("Pace estimates no time left for a run of few long queries, and none when no query is queued", () => {
  assert.ok(simulate(4, 10, () => 20).told.every(({ left }) => left === undefined));
  const { told } = simulate(4, 1001, (random) => (random < 0.003 ? 600 : 0.1));
  assert.equal(told.at(-1)!.left, undefined);
});

test("Pace has a rate that changes at most once a second, without the time that the workers need to start", () => {
  const { told } = simulate(4, 10_000, () => 0.01, 30);
  const rates = told.flatMap(({ perSecond }) => perSecond ?? []);
  assert.ok(new Set(rates).size <= 26);
  assert.ok(Math.min(...rates) > 340 && Math.max(...rates) < 460, `${Math.min(...rates)} to ${Math.max(...rates)}`);
});

test("Pace follows a run that stops, and one that continues after an hour", () => {
  const pace = new Pace();
  const look = (seconds: number, ended: number) =>
    pace.look(seconds, { ended, earlier: 0, total: 1_000_000, inFlight: () => Array(4) });
  for (let seconds = 0; seconds <= 100; seconds++) look(seconds, seconds * 100);
  for (let seconds = 101; seconds <= 3700; seconds++) look(seconds, 10_000);
  assert.ok(pace.perSecond! < 1);
  for (let seconds = 3701; seconds <= 3800; seconds++) look(seconds, 10_000 + (seconds - 3700) * 100);
  assert.ok(Math.abs(pace.perSecond! - 100) < 5, `${pace.perSecond} a second`);
  const left = 980_000 / 100;
  assert.ok(Math.abs(pace.secondsLeft(3800)! - left) < 0.2 * left, `${pace.secondsLeft(3800)} s left`);
});

/** Returns the estimates of a simulated run, ten times a second. The run begins when the workers are connected. */
function simulate(workers: number, queries: number, duration: Duration, begin = 0.5) {
  const random = randomNumbers();
  const starts: number[] = [];
  const ends: number[] = [];
  const free = Array.from({ length: workers }, () => begin);
  for (let query = 0; query < queries; query++) {
    const worker = free.indexOf(Math.min(...free));
    starts.push(free[worker]!);
    free[worker]! += duration(random());
    ends.push(free[worker]!);
  }
  ends.sort((a, b) => a - b);
  const end = ends.at(-1)!;
  const pace = new Pace();
  const told: { seconds: number; perSecond: number | undefined; left: number | undefined }[] = [];
  let ended = 0;
  let started = 0;
  for (let seconds = 0; seconds < end; seconds += 0.1) {
    while (ends[ended]! <= seconds) ended++;
    while (starts[started]! <= seconds) started++;
    pace.look(seconds, { ended, earlier: 0, total: queries, inFlight: () => Array(started - ended) });
    told.push({ seconds, perSecond: pace.perSecond, left: pace.secondsLeft(seconds) });
  }
  return { told, end };
}

/** Returns a generator of the same numbers in every run. */
function randomNumbers(): () => number {
  let state = 1;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}
