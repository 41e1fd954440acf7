export function evaluate(path: string, role: "process" | "thread", given?: Readonly<Record<string, object>>): Evaluated;
export function mapLines(path: string): void;

interface Evaluated {
  readonly parts: Readonly<Record<string, (() => Promise<unknown>) | undefined>>;
  keep(): void;
}
