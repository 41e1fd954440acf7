/**
 * A line of `lib/features/index.ts`: a feature's name, and where its parts are. Each part is loaded only when it is asked for.
 *
 * The types of the parts are `Feature` of `command/feature.ts`, `ParentFeature` of `parent/feature.ts` and `WorkerFeature` of
 * `worker/feature.ts`: nothing here depends on these.
 */
export interface FeatureEntry {
  /** The name of its folder. */
  readonly name: string;
  /** What it is for, in at most 48 characters: a copy and the prompt of `npm run copy` say so. */
  readonly about: string;
  /** The option of `doWork()` that asks for its parts in the parent and in the threads. */
  readonly option?: string;
  readonly command?: Part;
  readonly parent?: Part;
  readonly worker?: Part;
  /** Imports what its functions for scripts stand on. */
  readonly script?: () => Promise<unknown>;
  /** Makes the script and its threads start faster. */
  readonly startup?: () => Promise<{ readonly feature: Startup }>;
}

type Part = () => Promise<{ readonly feature: unknown }>;

export interface Startup {
  /**
   * @param given modules that the parts take from the caller, by their paths in lib.
   * @returns what can be loaded faster than from its files; `undefined` where nothing can.
   */
  parts(given: Readonly<Record<string, object>>): Promise<Parts | undefined>;
  /** @param script the module whose `workerInit()` and `workerDo()` replace the default ones. */
  startFiles(script: string | URL | undefined): Promise<StartFiles>;
}

/** Modules by their names, each loaded when it is asked for. */
export type Parts = Readonly<Record<string, (() => Promise<unknown>) | undefined>>;

export interface StartFiles {
  /** Path of a JavaScript file with all that a thread loads, the script too; without it, there are the TypeScript files. */
  readonly bundle?: string | undefined;
  /** Folder for what V8 compiles of the files; without it, nothing is kept. */
  readonly compileCache?: string | undefined;
}
