import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Cgroups, openCgroups } from "../../src/kernel/index.ts";

/** A tree of control groups of the test's own. Disposal kills what lives in it and removes it. */
export interface TestGroups extends AsyncDisposable {
  readonly groups: Cgroups;
  /** `/vitrine-test-…` */
  readonly root: string;
  /** A path below the root that no other call returned. */
  newPath(): string;
  /** Starts a program that is in all of the group's directories before it is executed. */
  spawn(path: string, command: readonly string[]): Bun.Subprocess<"ignore", "pipe", "pipe">;
  /** What a control file says: the first of the names that the group has, in any hierarchy. */
  file(path: string, ...names: readonly string[]): string;
  readonly warnings: string[];
}

let counter = 0;

/** `await using test = newGroups()` */
export function newGroups(): TestGroups {
  const warnings: string[] = [];
  const groups = openCgroups({ onWarning: (message) => warnings.push(message) });
  const root = `/vitrine-test-${process.pid}-${++counter}`;
  let paths = 0;
  return {
    groups,
    root,
    warnings,
    newPath: () => `${root}/${++paths}`,
    spawn(path, command) {
      const join = 'while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit 99; shift; done; shift; exec "$@"';
      const directories = [...new Set(Object.values(groups.directories(path)))];
      return Bun.spawn(["sh", "-c", join, "sh", ...directories, "--", ...command], {
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      });
    },
    file(path, ...names) {
      for (const directory of Object.values(groups.directories(path))) {
        for (const name of names) {
          const file = join(directory, name);
          if (existsSync(file)) return readFileSync(file, "utf8").trimEnd();
        }
      }
      throw new Error(`The group ${path} has none of ${names.join(", ")}`);
    },
    async [Symbol.asyncDispose]() {
      await groups.killAll(root);
      await groups.remove(root);
    },
  };
}

/** Waits for a condition with a bound; `what` is told when it never came true. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Never came true: ${what}`);
    await Bun.sleep(5);
  }
}
