/** Compares two contestants: the ratio of each round, and whether the median reaches the target. */
import type { Contestant } from "./contestants.ts";
import type { Run } from "./measure.ts";
import { type Spread, spread } from "./statistics.ts";

export type Figure = "rate" | "cpu" | "memory" | "wall" | "ready";

/** Two contestants to compare, and the target of the ratio, if it has one. */
export interface Pair {
  /** The candidates. The one with the highest median rate is compared. */
  readonly ours: readonly Contestant[];
  readonly against: Contestant | { readonly name: string; readonly value: number };
  readonly figure: Figure;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** The runs of each contestant, by its name: one a round, undefined if it failed. */
export type Runs = ReadonlyMap<string, readonly (Run | undefined)[]>;

export interface Ratio {
  readonly work: string;
  readonly ours: string;
  readonly against: string;
  readonly figure: string;
  readonly target: string;
  /** The spread of the ratios of all rounds. Undefined if a side has no figures. */
  readonly ratio: Spread | undefined;
  readonly reached: boolean | undefined;
}

/** The ways to measure each figure. */
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

/** Returns the ratios of a pair, one for each way to measure its figure. */
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

/** Returns the name of the contestant with the highest median rate, in the work phase if that was measured. */
function fastest(contestants: readonly Contestant[], runs: Runs): string {
  const rate = ({ phase, perSecond }: Run) => phase?.perSecond ?? perSecond;
  const median = (name: string) => spread((runs.get(name) ?? []).map((run) => of(run, rate)))?.median ?? 0;
  return contestants.map(({ name }) => name).reduce((one, other) => (median(other) > median(one) ? other : one));
}

function of(run: Run | undefined, value: (run: Run) => number | undefined): number | undefined {
  return run && value(run);
}
