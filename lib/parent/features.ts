/** The features of a run. */
import { features } from "../features/index.ts";
import type { ParentFeature, ParentPart, RunOfFeature } from "./feature.ts";
import { type CompleteOptions, ownOptions } from "./options.ts";

/**
 * Prepares the features that the options ask for.
 *
 * @param parts gets each of them, by its name.
 * @throws TypeError for an option that none knows, and what one of them has against the options.
 */
export async function beginFeatures(
  options: CompleteOptions,
  run: RunOfFeature,
  parts: Map<string, ParentPart>,
): Promise<void> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name] of given.filter(([name]) => !ownOptions.includes(name))) {
    if (features.some(({ option }) => option === name)) continue;
    throw new TypeError(`Cannot take the option ${name}: this copy has no feature that knows it`);
  }
  for (const { name, option, parent } of features) {
    const value = given.find(([name]) => name === option)?.[1];
    if (value === undefined) continue;
    const feature = (await parent?.())?.feature as ParentFeature | undefined;
    parts.set(name, (await feature?.begin(options, run)) ?? { settings: value });
  }
}
