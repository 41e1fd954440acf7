/** The features of a run, in the parent. */
import { features } from "../features/index.ts";
import type { Checkpoints } from "../shared/source-context.ts";
import type { KnownQueries, ParentFeature, ParentPart, RunOfFeature } from "./feature.ts";
import { type CompleteOptions, ownOptions, type Summary } from "./options.ts";

export class Parts {
  /** By the name of the feature. */
  readonly #parts = new Map<string, ParentPart>();

  /**
   * Prepares the features that the options ask for.
   *
   * @throws TypeError for an unknown option; the errors of the features.
   */
  async begin(options: CompleteOptions, run: RunOfFeature): Promise<void> {
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    for (const [name] of given.filter(([name]) => !ownOptions.includes(name))) {
      if (features.some(({ option }) => option === name)) continue;
      throw new TypeError(`Cannot take the option ${name}: this copy has no feature that knows it`);
    }
    for (const { name, option, parent } of features) {
      const value = given.find(([name]) => name === option)?.[1];
      if (value === undefined) continue;
      const feature = (await parent?.())?.feature as ParentFeature | undefined;
      this.#parts.set(name, (await feature?.begin(options, run)) ?? { settings: value });
    }
  }

  /** Data for their parts in each thread, by name. */
  get settings(): Record<string, unknown> {
    return Object.fromEntries([...this.#parts].map(([name, { settings }]) => [name, settings]));
  }

  /** Reasons why no query may depend on an earlier one. */
  get standsAlone(): string[] {
    return this.#all.flatMap((part) => part.standsAlone ?? []);
  }

  get known(): KnownQueries[] {
    return this.#all.flatMap((part) => part.known ?? []);
  }

  get checkpoints(): Checkpoints | undefined {
    return this.#all.find((part) => part.checkpoints)?.checkpoints;
  }

  /** Passes what a feature's part in a thread has posted to its part here. */
  message(name: string, data: unknown, answer: (data: unknown) => void): void {
    this.#parts.get(name)?.message?.(data, answer);
  }

  /** Returns true if a query that may have run can be sent again, because a feature finds out whether it did. */
  decide(unit: unknown): boolean {
    return this.#all.some((part) => part.decides?.(unit));
  }

  summary(earlier: Summary["earlier"]): Partial<Summary> {
    return Object.assign({}, ...this.#all.map((part) => part.summary?.(earlier)));
  }

  /** Resolves when all features have finished their work. */
  async end(): Promise<void> {
    await Promise.all(this.#all.map((part) => part.end?.()));
  }

  get #all(): ParentPart[] {
    return [...this.#parts.values()];
  }
}
