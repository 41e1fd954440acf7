/** An entry of `lib/features/index.ts`: a feature's name, and where its parts are. Each part is loaded only when it is asked for. */
export interface FeatureEntry {
  /** The name of its folder. */
  readonly name: string;
  /** What it is for, in at most 48 characters: `npm run copy` shows that. */
  readonly about: string;
  /** What it is to the command: a `Feature`, as `command/feature.ts` has it. */
  readonly command?: () => Promise<{ readonly feature: unknown }>;
}
