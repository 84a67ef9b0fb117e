import { mkdirSync } from "node:fs";
import { join } from "node:path";
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
  tryUnlinkAt,
} from "../kernel/index.ts";
import type { Trash } from "../snapshot/index.ts";
import { createIgnoreRules, type IgnoreRules } from "../spec/index.ts";
import type { BuildSession, FilesOptions, LocalTree } from "./session.ts";

/** What a build's context may hold once it is unpacked. */
export const maxContextBytes = 32 * 1024 ** 3;

/**
 * The session of a classic build: a tar, perhaps compressed, that was sent with the request, and passwords of registries. Disposal
 * deletes what was unpacked.
 */
export class TarSession implements BuildSession, AsyncDisposable {
  readonly #root: string;
  readonly #trash: Trash;
  readonly credentials: BuildSession["credentials"];

  private constructor(root: string, trash: Trash, credentials: BuildSession["credentials"]) {
    this.#root = root;
    this.#trash = trash;
    this.credentials = credentials;
  }

  /** Unpacks the tar into a folder of its own below `paths.temporary`. */
  static async open(
    source: AsyncIterable<Uint8Array>,
    options: {
      paths: Paths;
      trash: Trash;
      signal?: AbortSignal | undefined;
      credentials?: BuildSession["credentials"] | undefined;
    },
  ): Promise<TarSession> {
    const root = join(options.paths.temporary, `build-${newId().slice(0, 16)}`);
    mkdirSync(root, { recursive: true, mode: 0o700 });
    try {
      await extractTree(limited(decompress(source), options.signal), root, "/", { endMark: "optional" });
    } catch (error) {
      options.trash.add(root);
      throw error;
    }
    return new TarSession(root, options.trash, options.credentials ?? (async () => undefined));
  }

  /** Clients leave ignored files out already; a context that comes as it is gets the same treatment here. */
  async files(name: string, { exclude = [] }: FilesOptions = {}): Promise<LocalTree> {
    if (name !== "context" && name !== "dockerfile") {
      throw new EngineError("notFound", `The client of this build offers no folder "${name}"`);
    }
    applyIgnoreRules(this.#root, exclude);
    return { root: this.#root, isOwn: true, [Symbol.asyncDispose]: async () => {} };
  }

  async secret(): Promise<undefined> {}

  async ssh(): Promise<undefined> {}

  async [Symbol.asyncDispose](): Promise<void> {
    this.#trash.add(this.#root);
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
    if (sizeBytes > maxContextBytes) {
      throw new EngineError("resourceExhausted", `The build context is larger than ${maxContextBytes} bytes`);
    }
    yield chunk;
  }
}

/** Deletes from a folder of the engine's own what a .dockerignore leaves out. */
export function applyIgnoreRules(root: string, patterns: readonly string[]): void {
  if (patterns.length === 0) return;
  const rootFd = openDirectory(root);
  try {
    removeIgnored(rootFd, ".", createIgnoreRules(patterns));
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
