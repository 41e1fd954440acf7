import { basename } from "node:path";

/** What a command has of its process: `process` itself, or what stands for it in a test. */
export interface Io {
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: NodeJS.ReadableStream & { destroy(): void };
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
}

/** What a person has called the script. */
export function scriptOf({ argv }: Io): string {
  return basename(argv[1] ?? "myscript.ts");
}
