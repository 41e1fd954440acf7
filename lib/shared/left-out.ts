/** The features that a copy can be made without, for messages about what it lacks. A test compares the list with the features. */

/** Names of the flags of each feature. */
const flagsOf: Readonly<Record<string, readonly string[]>> = {
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

/** Options of `doWork()`, and the features that have them. */
const options: Readonly<Record<string, string>> = { ledger: "ledger", batch: "batch", onRows: "rows" };

/** The flags of all features. */
export const featureFlags: readonly string[] = Object.values(flagsOf).flat();

/** Returns how to get the feature that has this flag. */
export function howToGetFlag(flag: string): string {
  const [feature] = Object.entries(flagsOf).find(([, flags]) => flags.includes(flag))!;
  return howToAdd(feature);
}

/** Returns how to get the feature that has this option of `doWork()`, undefined if none has it. */
export function howToGetOption(option: string): string | undefined {
  const feature = Object.hasOwn(options, option) ? options[option] : undefined;
  return feature && howToAdd(feature);
}

/** Returns how to add a feature to this copy. */
export function howToAdd(feature: string): string {
  return `this copy lacks the feature ${feature}: to add it, run "npm run copy -- FOLDER --with ${feature}" where it was copied from`;
}
