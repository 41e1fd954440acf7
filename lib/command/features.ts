/** The features that this copy has, as far as the command knows them. */
import { features as entries } from "../features/index.ts";
import type { Feature } from "./feature.ts";

/** Empty until `loadFeatures()`: worker threads import the command, too, and need none. */
export const features: Feature[] = [];

export async function loadFeatures(): Promise<void> {
  const modules = await Promise.all(entries.map(({ command }) => command?.()));
  features.splice(0, features.length, ...modules.flatMap((module) => (module ? [module.feature as Feature] : [])));
}
