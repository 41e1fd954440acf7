/**
 * An entry of `lib/features/index.ts`: the name of a feature, and functions that load its parts on demand.
 *
 * The types of the parts are `Feature` of `command/feature.ts`, `ParentFeature` of `parent/feature.ts` and `WorkerFeature` of
 * `worker/feature.ts`. This file imports none of them.
 */
export interface FeatureEntry {
  /** The name of its folder. */
  readonly name: string;
  /** Purpose in at most 48 characters. A copy and the prompt of `npm run copy` show it. */
  readonly about: string;
  /** Option of `doWork()` that loads its parts in the parent and in the threads. */
  readonly option?: string;
  readonly command?: Part;
  readonly parent?: Part;
  readonly worker?: Part;
  /** Imports the modules that its functions for scripts need. */
  readonly script?: () => Promise<unknown>;
  /** Makes the script and its threads start faster. */
  readonly startup?: () => Promise<{ readonly feature: Startup }>;
}

type Part = () => Promise<{ readonly feature: unknown }>;

export interface Startup {
  /**
   * @param given modules that the parts take from the caller, by their paths in lib.
   * @returns modules that load faster than from their files, `undefined` if there are none.
   */
  parts(given: Readonly<Record<string, object>>): Promise<Parts | undefined>;
  /** @param script the module whose `workerInit()` and `workerDo()` replace the default ones. */
  startFiles(script: string | URL | undefined): Promise<StartFiles>;
}

/** Modules by name. Each is loaded on demand. */
export type Parts = Readonly<Record<string, (() => Promise<unknown>) | undefined>>;

export interface StartFiles {
  /**
   * A JavaScript file with all that a thread loads, including the script, and the URL of the module that loads it by `load()`. If
   * missing, the thread loads the TypeScript files.
   */
  readonly bundle?: { readonly path: string; readonly loader: string } | undefined;
  /** Folder for V8's compile cache. If missing, nothing is cached. */
  readonly compileCache?: string | undefined;
}
