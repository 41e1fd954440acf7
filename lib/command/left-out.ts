/** The features that a copy can be made without, for messages about what it lacks. A test compares the list with the features. */

/** Names of the options of each feature. */
const optionsOf: Readonly<Record<string, readonly string[]>> = {
  ledger: ["ledger"],
  batch: ["batch"],
  throttle: ["rate", "max-load", "critical-load"],
  pause: ["pause-file", "pause-query", "max-pause"],
  lag: ["max-lag", "replicas", "channel", "heartbeat"],
  steering: ["control", "max-workers"],
  joblog: ["joblog", "resume", "retry-failed", "retry-unknown"],
  rows: ["rows"],
  "my-cnf": ["defaults-file"],
};

/** The options of all features. */
export const featureOptions: readonly string[] = Object.values(optionsOf).flat();

/** Returns how to get the feature that has this option. */
export function howToGet(option: string): string {
  const [feature] = Object.entries(optionsOf).find(([, options]) => options.includes(option))!;
  return howToAdd(feature);
}

/** Returns how to add a feature to this copy. */
export function howToAdd(feature: string): string {
  return `this copy lacks the feature ${feature}: to add it, run "npm run copy -- FOLDER --with ${feature}" where it was copied from`;
}
