/**
 * Builds engines such as Kubernetes, starts them on this machine and runs the script on them. `npm test` does not do that, because
 * it needs minutes and a Go compiler.
 *
 * The arguments name engines. The default is all. `--build` builds them and tests nothing.
 */
import { describe } from "node:test";
import { buildControlPlane, version } from "./engines/control-plane.ts";
import { testKubernetes } from "./engines/kubernetes.ts";
import { buildTiDB, version as tidbVersion } from "./engines/tidb.ts";
import { testTiDB } from "./engines/tidb-scenarios.ts";
import { buildVitess, version as vitessVersion } from "./engines/vitess.ts";
import { testVitess } from "./engines/vitess-scenarios.ts";

interface Engine {
  readonly version: string;
  /** Builds the programs that are missing. */
  build(): Promise<void>;
  test(): void;
}

const engines: Readonly<Record<string, Engine>> = {
  kubernetes: { version, build: buildControlPlane, test: testKubernetes },
  tidb: { version: tidbVersion, build: buildTiDB, test: testTiDB },
  vitess: { version: vitessVersion, build: buildVitess, test: testVitess },
};

const words = process.argv.slice(2);
const names = words.filter((word) => word !== "--build");
const unknown = names.find((name) => !engines[name]);
if (unknown !== undefined)
  throw new Error(`There is no ${unknown}: the engines are ${Object.keys(engines).join(", ")}`);

const built: [string, Engine][] = [];
for (const [name, engine] of Object.entries(engines)) {
  if (names.length > 0 && !names.includes(name)) continue;
  console.log(`${name} ${engine.version}`);
  try {
    await engine.build();
    built.push([name, engine]);
  } catch (error) {
    console.error(`${name}: ${(error as Error).message}`); // the other engines do not need this one
    process.exitCode = 1;
  }
}
if (!words.includes("--build")) for (const [name, { test }] of built) describe(name, test);
