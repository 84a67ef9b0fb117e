import { EngineError } from "../common/index.ts";
import { closeFd, openDirectory, openFlags, statFd, tryOpenInRoot } from "../kernel/index.ts";
import { breathe } from "./breathe.ts";
import { resolveInRoot } from "./resolve-in-root.ts";
import { TarParser, type TarLimits } from "./tar-parser.ts";
import { TreeWriter } from "./tree-writer.ts";

export interface ExtractTreeOptions {
  /** Owner of everything that is made, instead of the archive's. */
  readonly chown?: { readonly uid: number; readonly gid: number };
  /** Refuse to replace a directory by something else, and the other way round. */
  readonly noOverwriteDirNonDir?: boolean;
  readonly limits?: Partial<TarLimits>;
  /** `optional` takes an archive that ends after an entry, as docker's client sends contexts whose Dockerfile is elsewhere. */
  readonly endMark?: "required" | "optional";
}

/**
 * Unpacks a tar stream into the directory at `path` of the tree at `root`. Names count from that directory; symlinks on the way,
 * of the tree or the archive, resolve inside the root. The directory's own attributes stay. Throws `notFound` when it is missing and
 * `invalidArgument` when it is none, or for a damaged archive; files made before that stay.
 */
export async function extractTree(
  tar: AsyncIterable<Uint8Array>,
  root: string,
  path: string,
  options: ExtractTreeOptions = {},
): Promise<{ sizeBytes: number }> {
  const rootFd = openDirectory(root);
  try {
    const base = resolveInRoot(rootFd, path, { follow: true });
    requireDirectory(rootFd, base, path);
    const { chown, noOverwriteDirNonDir = false } = options;
    using writer = new TreeWriter({ rootFd, base, noOverwriteDirNonDir, ...(chown && { chown }) });
    const parser = new TarParser(writer, options.limits);
    for await (const chunk of tar) {
      parser.push(chunk);
      await breathe();
    }
    parser.finish(options.endMark);
    writer.finish();
    return { sizeBytes: writer.sizeBytes };
  } finally {
    closeFd(rootFd);
  }
}

function requireDirectory(rootFd: number, base: string, path: string): void {
  const fd = tryOpenInRoot(rootFd, base, { flags: openFlags.path | openFlags.noFollow });
  const directory = fd >= 0 && statFd(fd).type === "directory";
  if (fd >= 0) closeFd(fd);
  if (!directory) throw new EngineError("invalidArgument", `Cannot extract to "${path}": not a directory`);
}
