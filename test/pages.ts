/** The pages of the documentation, and their code blocks: command lines and whole scripts. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "./run.ts";

/** A whole script, with the last command line before it. */
export interface Example {
  readonly name: string;
  readonly line: string;
  readonly code: string;
}

interface Block {
  readonly page: string;
  readonly language: string;
  readonly text: string;
  /** The text between the previous block and this one. */
  readonly before: string;
}

const own = ["README.md", "test/README.md", "test/bench/README.md", "test/copy/README.md"];
const manual = readdirSync(join(root, "lib"), { recursive: true, encoding: "utf8" });

/** The text of each page, by its path. The front page is first. */
export const pages: ReadonlyMap<string, string> = new Map(
  [...own, ...manual.filter((path) => path.endsWith(".md")).map((path) => `lib/${path}`)].map((path) => [
    path,
    readFileSync(join(root, path), "utf8"),
  ]),
);

const blocks: readonly Block[] = [...pages].flatMap(([page, text]) =>
  [...text.matchAll(/([\s\S]*?)^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, before, language, text]) => ({
    ...{ page, language: language!, text: text!, before: before! },
  })),
);

export function blocksOf(language: string): readonly Block[] {
  return blocks.filter((block) => block.language === language);
}

/** Returns the text of the only block that contains these words. */
export function blockWith(words: string): string {
  const [text, ...others] = new Set(blocks.map(({ text }) => text).filter((text) => text.includes(words)));
  if (text === undefined || others.length > 0) throw new Error(`${1 + others.length} blocks have ${words}`);
  return text;
}

/** Returns the whole scripts, by their names. */
export function examplesOf(): ReadonlyMap<string, Example> {
  const scripts = blocksOf("ts").filter(({ text }) => text.includes("process.exitCode = await runCommand("));
  const named = scripts.flatMap(({ before, text: code }) => {
    const line = [...before.matchAll(/`(npx tsx [^`]+)`/g)].at(-1)?.[1];
    return line === undefined ? [] : [{ name: line.split(" ")[2]!, line, code }];
  });
  return new Map(named.map((example) => [example.name, example]));
}

/** Returns the command lines of all pages. Lines that end with `\` are joined. */
export function commandLines(): readonly string[] {
  return blocksOf("sh").flatMap(({ text }) =>
    text
      .trimEnd()
      .replace(/\\\n */g, "")
      .split("\n"),
  );
}

/** One start of a script: its name and its arguments. */
export type Start = readonly [name: string, ...words: string[]];

/** Lets a shell run command lines. Stand-ins for tsx, npx, node and myscript.ts only record their arguments. */
export class Shell {
  readonly #folder: string;
  readonly #bin: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.#bin = join(folder, "node_modules/.bin");
    mkdirSync(this.#bin, { recursive: true });
    const tell = `printf '%s\\0' "$@" > "$TOLD/$LINE-$$"\n`;
    const programs = { tsx: "", npx: "shift # tsx\n", node: "shift 2 # --import tsx\n" };
    for (const [name, skip] of Object.entries(programs)) this.#write(`node_modules/.bin/${name}`, skip + tell);
    this.#write("node_modules/.bin/mysqldump", "");
    this.#write("myscript.ts", `set -- myscript.ts "$@"\n${tell}`);
  }

  /** Returns the scripts that each line starts. A single element may be a block of lines. */
  async startsOf(lines: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Start[][]> {
    const told = mkdtempSync(join(this.#folder, "told-"));
    const text = lines.map((line, index) => `export LINE=${index}; ${lines.length > 1 ? line : `(${line}\n)`}`);
    const path = `${this.#bin}:${process.env.PATH}`;
    const command = ["sh", "-ec", 'eval "$0"'];
    const ended = await run([text.join("\n")], {
      command,
      folder: this.#folder,
      env: { ...env, PATH: path, TOLD: told },
    });
    if (ended.status !== 0) throw new Error(ended.stderr);
    const starts: Start[][] = lines.map(() => []);
    for (const name of readdirSync(told)) {
      const words = readFileSync(join(told, name), "utf8").split("\0").slice(0, -1);
      starts[Number.parseInt(name, 10)]!.push(words as unknown as Start);
    }
    return starts;
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.#folder, name), `#!/bin/sh\n${text}`, { mode: 0o755 });
  }
}
