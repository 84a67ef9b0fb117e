import { readFile } from "node:fs/promises";
import { posix } from "node:path";
import { EngineError } from "../common/index.ts";
import { closeFd, openDirectory, openFlags, statFd, tryOpenInRoot } from "../kernel/index.ts";
import { ignorePatterns } from "../spec/index.ts";
import type { BuildSession } from "./session.ts";
import { dockerfileLimits } from "./source-lines.ts";

const maxIgnoreFileBytes = 1024 * 1024;

export interface LoadedDockerfile {
  readonly name: string;
  readonly text: string;
  /** Patterns of the .dockerignore that belongs to it, cleaned. */
  readonly exclude: readonly string[];
}

/** Reads the Dockerfile and its .dockerignore out of a session's folders. Docker's words where it is missing. */
export async function loadDockerfile(session: BuildSession, fileName: string): Promise<LoadedDockerfile> {
  const wanted = fileName === "" ? "Dockerfile" : posix.normalize(fileName);
  const names = wanted === "Dockerfile" ? [wanted, "dockerfile"] : [wanted];
  await using folder = await session.files("dockerfile", {
    include: names.flatMap((name) => [name, `${name}.dockerignore`]),
    followPaths: names,
  });
  for (const name of names) {
    const text = await readInRoot(folder.root, name, dockerfileLimits.sizeBytes);
    if (text === undefined) continue;
    const own = await readInRoot(folder.root, `${name}.dockerignore`, maxIgnoreFileBytes);
    return { name, text, exclude: ignorePatterns(own ?? (await contextIgnoreFile(session)) ?? "") };
  }
  throw new EngineError("invalidArgument", `Cannot locate specified Dockerfile: ${fileName}`);
}

async function contextIgnoreFile(session: BuildSession): Promise<string | undefined> {
  await using folder = await session.files("context", { include: [".dockerignore"], followPaths: [".dockerignore"] });
  return readInRoot(folder.root, ".dockerignore", maxIgnoreFileBytes);
}

/** A text file looked up inside the root; undefined when there is none. */
async function readInRoot(root: string, path: string, maxBytes: number): Promise<string | undefined> {
  const rootFd = openDirectory(root);
  try {
    // Without O_NONBLOCK a named pipe in the context would stop the engine here.
    const fd = tryOpenInRoot(rootFd, path, { flags: openFlags.readOnly | openFlags.nonBlock });
    if (fd < 0) return undefined;
    try {
      const stat = statFd(fd);
      if (stat.type !== "file") throw new EngineError("invalidArgument", `"${path}" in the build context is no file`);
      if (stat.size > maxBytes) throw new EngineError("invalidArgument", `"${path}" is larger than ${maxBytes} bytes`);
      return await readFile(`/proc/self/fd/${fd}`, "utf8");
    } finally {
      closeFd(fd);
    }
  } finally {
    closeFd(rootFd);
  }
}
