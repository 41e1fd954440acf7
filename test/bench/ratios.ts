/** How a contestant compares to another one: the ratio of each round, and whether it is what it is to be. */
import type { Contestant } from "./contestants.ts";
import type { Run } from "./measure.ts";
import { type Spread, spread } from "./statistics.ts";

export type Figure = "rate" | "cpu" | "memory" | "wall" | "ready";

/** Two contestants to compare, and what the ratio is to be, if anything. */
export interface Pair {
  /** Of several, the one with the highest median rate. */
  readonly ours: readonly Contestant[];
  readonly against: Contestant | { readonly name: string; readonly value: number };
  readonly figure: Figure;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** The runs of the contestants, by name: one a round, `undefined` where it failed. */
export type Runs = ReadonlyMap<string, readonly (Run | undefined)[]>;

export interface Ratio {
  readonly work: string;
  readonly ours: string;
  readonly against: string;
  readonly figure: string;
  readonly target: string;
  /** Of the ratios of the rounds. Without it there was nothing to compare. */
  readonly ratio: Spread | undefined;
  readonly reached: boolean | undefined;
}

/** The ways to look at a figure. */
export const figures: Record<Figure, Record<string, (run: Run) => number | undefined>> = {
  rate: {
    "per second, work phase": ({ phase }) => phase?.perSecond,
    "per second, exec to exit": ({ perSecond }) => perSecond,
  },
  cpu: {
    "processor time, work phase": ({ phase }) => phase?.cpuMicroseconds,
    "processor time, exec to exit": ({ cpuMicroseconds }) => cpuMicroseconds,
  },
  memory: { "peak memory": ({ peakBytes }) => peakBytes },
  wall: { "wall time": ({ wallSeconds }) => wallSeconds },
  ready: { "time to ready": ({ readySeconds }) => readySeconds },
};

/** The ratios of a pair, one for each way to look at its figure. */
export function compare(work: string, { ours, against, figure, atLeast, atMost }: Pair, runs: Runs): Ratio[] {
  const mine = fastest(ours, runs);
  return Object.entries(figures[figure]).map(([name, value]) => {
    const measured = (runs.get(mine) ?? []).map((run, round) => {
      const theirs = "value" in against ? against.value : of(runs.get(against.name)?.[round], value);
      const own = of(run, value);
      return own !== undefined && theirs !== undefined ? own / theirs : undefined;
    });
    const ratio = spread(measured);
    return {
      work,
      ours: mine,
      against: against.name,
      figure: name,
      target: atLeast !== undefined ? `at least ${atLeast}` : atMost !== undefined ? `at most ${atMost}` : "-",
      ratio,
      reached:
        ratio && (atLeast ?? atMost) !== undefined
          ? ratio.median >= (atLeast ?? 0) && ratio.median <= (atMost ?? Number.POSITIVE_INFINITY)
          : undefined,
    };
  });
}

/** The name of the contestant that has the highest rate, in the work phase where there is one. */
function fastest(contestants: readonly Contestant[], runs: Runs): string {
  const rate = ({ phase, perSecond }: Run) => phase?.perSecond ?? perSecond;
  const median = (name: string) => spread((runs.get(name) ?? []).map((run) => of(run, rate)))?.median ?? 0;
  return contestants.map(({ name }) => name).reduce((one, other) => (median(other) > median(one) ? other : one));
}

function of(run: Run | undefined, value: (run: Run) => number | undefined): number | undefined {
  return run && value(run);
}
