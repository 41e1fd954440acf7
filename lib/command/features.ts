/** The features that this copy has, as far as the command knows them. */
import { features as entries } from "../features/index.ts";
import type { Feature } from "./feature.ts";

const modules = await Promise.all(entries.map(({ command }) => command?.()));

export const features = modules.flatMap((module) => (module ? [module.feature as Feature] : []));
