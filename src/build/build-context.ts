import { mkdirSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { decompress, extractTree } from "../archive/index.ts";
import { EngineError, newId, type Paths } from "../common/index.ts";
import {
  closeFd,
  openDirectory,
  openFlags,
  openInRoot,
  readDirectory,
  removeTreeAt,
  statAt,
  statFd,
  tryOpenInRoot,
  tryUnlinkAt,
} from "../kernel/index.ts";
import { parseIgnoreFile, type IgnoreRules } from "../spec/index.ts";
import { dockerfileLimits } from "./source-lines.ts";

/** What a build's context may hold once it is unpacked. */
export const contextLimits = { sizeBytes: 32 * 1024 ** 3, ignoreFileBytes: 1024 * 1024 } as const;

/** The unpacked context of one build; disposal deletes it. */
export interface BuildContext extends AsyncDisposable {
  readonly root: string;
  readonly dockerfile: { readonly name: string; readonly text: string };
}

/**
 * Unpacks a context's tar (perhaps compressed) into a folder of its own below `paths.temporary`, reads the Dockerfile, and
 * takes out what .dockerignore names. Docker's words where the Dockerfile is missing.
 */
export async function openContext(
  source: AsyncIterable<Uint8Array>,
  options: { dockerfile: string; paths: Paths; signal?: AbortSignal | undefined },
): Promise<BuildContext> {
  const root = join(options.paths.temporary, `build-${newId().slice(0, 16)}`);
  const remove = async (): Promise<void> => rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true, mode: 0o700 });
  try {
    await extractTree(limited(decompress(source), options.signal), root, "/");
    const dockerfile = await readDockerfile(root, options.dockerfile);
    await applyIgnoreFile(root, dockerfile.name);
    return { root, dockerfile, [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function* limited(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let sizeBytes = 0;
  for await (const chunk of source) {
    signal?.throwIfAborted();
    sizeBytes += chunk.length;
    if (sizeBytes > contextLimits.sizeBytes) {
      throw new EngineError("resourceExhausted", `The build context is larger than ${contextLimits.sizeBytes} bytes`);
    }
    yield chunk;
  }
}

async function readDockerfile(root: string, requested: string): Promise<{ name: string; text: string }> {
  const wanted = requested === "" ? "Dockerfile" : posix.normalize(requested);
  const names = wanted === "Dockerfile" ? [wanted, "dockerfile"] : [wanted];
  for (const name of names) {
    const text = await readInRoot(root, name, dockerfileLimits.sizeBytes);
    if (text !== undefined) return { name, text };
  }
  throw new EngineError("invalidArgument", `Cannot locate specified Dockerfile: ${requested}`);
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

/** Clients leave ignored files out already; a context that comes as it is gets the same treatment here. */
async function applyIgnoreFile(root: string, dockerfile: string): Promise<void> {
  const text =
    (await readInRoot(root, `${dockerfile}.dockerignore`, contextLimits.ignoreFileBytes)) ??
    (await readInRoot(root, ".dockerignore", contextLimits.ignoreFileBytes));
  if (text === undefined) return;
  const rootFd = openDirectory(root);
  try {
    removeIgnored(rootFd, ".", parseIgnoreFile(text));
  } finally {
    closeFd(rootFd);
  }
}

function removeIgnored(rootFd: number, directory: string, rules: IgnoreRules): void {
  const fd = openInRoot(rootFd, directory, { flags: openFlags.directory, symlinks: "refuse" });
  try {
    for (const name of readDirectory(fd)) {
      const path = directory === "." ? name : `${directory}/${name}`;
      const ignored = rules.ignores(path);
      const isDirectory = statAt(fd, name)?.type === "directory";
      if (ignored && !(isDirectory && rules.hasExceptions)) {
        removeTreeAt(fd, name);
        continue;
      }
      if (!isDirectory) continue;
      removeIgnored(rootFd, path, rules);
      // A directory that an exception kept something in stays, and refuses to go.
      if (ignored) tryUnlinkAt(fd, name, { directory: true });
    }
  } finally {
    closeFd(fd);
  }
}
