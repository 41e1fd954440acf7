/** The features of a run, in the parent. */
import { features } from "../features/index.ts";
import { howToGetOption } from "../shared/left-out.ts";
import type { ParentFeature, ParentPart, RunOfFeature } from "./feature.ts";
import { type CompleteOptions, ownOptions } from "./options.ts";

export interface NamedPart {
  /** The name of the feature. */
  readonly name: string;
  readonly part: ParentPart;
}

/**
 * Prepares the features that the options ask for.
 *
 * @throws TypeError for an unknown option; the errors of the features.
 */
export async function beginParts(options: CompleteOptions, run: RunOfFeature): Promise<NamedPart[]> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name] of given.filter(([name]) => !ownOptions.includes(name))) {
    if (features.some(({ option }) => option === name)) continue;
    throw new TypeError(`Cannot take the option ${name}: ${howToGetOption(name) ?? "there is none of this name"}`);
  }
  const parts: NamedPart[] = [];
  for (const { name, option, parent } of features) {
    const value = given.find(([name]) => name === option)?.[1];
    if (value === undefined) continue;
    const feature = (await parent?.())?.feature as ParentFeature | undefined;
    parts.push({ name, part: (await feature?.begin(options, run)) ?? { settings: value } });
  }
  return parts;
}
