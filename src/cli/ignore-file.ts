import { existsSync } from "node:fs";
import { join } from "node:path";

/** The file that says what a context leaves out: `NAME.dockerignore` beside the Dockerfile, else `.dockerignore` of the root. */
export function ignoreFileOf(root: string, dockerfile: string | undefined): string | undefined {
  const candidates = [...(dockerfile === undefined ? [] : [`${dockerfile}.dockerignore`]), join(root, ".dockerignore")];
  return candidates.find((path) => existsSync(path));
}
