import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openCgroups } from "../../src/kernel/index.ts";
import { vitrineCommand, type TestEngine } from "./test-engine.ts";

export type ClientName = "vitrine" | "docker";

/** Where a page's commands go when a test executes them: to an engine of the test's own, beside any other. */
export interface CourseClient {
  readonly engine: TestEngine;
  /** Stands for the pages' ports 4000, and 8000 with one added. */
  readonly port: number;
  readonly environment: Record<string, string>;
  /** Makes `vitrine` our own client for one command: docker's has no such command. */
  readonly asOurs: (command: string) => string;
}

/** Puts a program called `vitrine` below `folder` that is our client, or docker's. */
export function courseClient(name: ClientName, engine: TestEngine, folder: string): CourseClient {
  writeProgram(join(folder, "bin-vitrine"), `exec ${vitrineCommand.join(" ")} "$@"`);
  writeProgram(join(folder, "bin-docker"), dockerScript);
  const temporary = join(folder, "tmp");
  mkdirSync(temporary);
  return {
    engine,
    port: (name === "vitrine" ? 41_000 : 43_000) + (process.pid % 1000) * 2,
    environment: {
      PATH: `${join(folder, `bin-${name}`)}:${process.env.PATH}`,
      DOCKER_HOST: `unix://${engine.socket}`,
      TMPDIR: temporary,
      LC_ALL: "C",
      TERM: "dumb",
    },
    asOurs: (command) =>
      `before=$PATH; PATH=${join(folder, "bin-vitrine")}:$PATH\n${command}\nstatus=$?; PATH=$before; (exit $status)`,
  };
}

/** The classic builder is what the engine has, and what newer docker clients say of it on stderr is theirs. */
const dockerScript = `export DOCKER_BUILDKIT=0
[ "$1" = build ] || exec docker "$@"
set -o pipefail
{ docker "$@" 2>&1 >&3 | sed '/^DEPRECATED/,/^$/d' >&2; } 3>&1`;

function writeProgram(folder: string, script: string): void {
  mkdirSync(folder);
  writeFileSync(join(folder, "vitrine"), `#!/bin/bash\n${script}\n`);
  chmodSync(join(folder, "vitrine"), 0o755);
}

/** The pages say what a reader types; the test's own engine, ports and directories stand in for the default ones. */
export function localise(text: string, { engine, port }: CourseClient): string {
  return text
    .replaceAll("/var/lib/vitrine", engine.root)
    .replaceAll("/run/vitrine", engine.run)
    .replaceAll("vitrine0", engine.bridge)
    .replaceAll("172.17.0.", engine.subnet.replace(/0\/24$/, ""))
    .replaceAll(/(?<=localhost:|0\.0\.0\.0:|\[::\]:|-p )(4000|8000)\b/g, (page) =>
      String(port + (page === "8000" ? 1 : 0)),
    )
    .replaceAll(/\/vitrine\/(?=\$ID|…)/g, `/${engine.instance}/`);
}

/** Blocks marked `v1` or `v2` are for machines where control groups of that version hold the limits. */
export function cgroupMark(): "v1" | "v2" {
  return openCgroups().support.version === "v2" ? "v2" : "v1";
}
