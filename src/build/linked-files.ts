import { breathe } from "../archive/index.ts";
import {
  SystemError,
  closeFd,
  errnoNumber,
  linkAt,
  openAt,
  openDirectory,
  openFlags,
  openInRoot,
  procPath,
  readXattrs,
  setTimesFd,
  statAt,
  statFd,
  tryOpenInRoot,
} from "../kernel/index.ts";
import { FileCopier, type CopyOptions } from "./copy-files.ts";

/** Another mount or file system, a file with too many names, a kernel that lets nobody link. */
const unlinkable = new Set(["EXDEV", "EMLINK", "EPERM"].map(errnoNumber));

interface Directory {
  /** From the directory that is copied. */
  readonly below: string;
  /** In the layer. */
  readonly path: string;
  readonly names: string[];
}

/**
 * Files of a folder that is this build's alone, which a layer takes as they are: other names of the same files, not copies. They are put into
 * a snapshot's diff directory when it is mounted no more, since the kernel allows nobody else in there before.
 */
export class LinkedFiles {
  readonly #directories: Directory[] = [];
  readonly #diff: string;
  #source: { rootFd: number; path: string; options: CopyOptions } | undefined;

  constructor(diff: string) {
    this.#diff = diff;
  }

  /** Where to note names of a directory's files; undefined for one that the diff directory does not have, as an image's own that nothing has changed. */
  directory({ below, path }: Omit<Directory, "names">): string[] | undefined {
    const diffFd = openDirectory(this.#diff);
    try {
      const fd = tryOpenInRoot(diffFd, path, { flags: openFlags.path | openFlags.directory, symlinks: "refuse" });
      if (fd < 0) return undefined;
      closeFd(fd);
    } finally {
      closeFd(diffFd);
    }
    const names: string[] = [];
    this.#directories.push({ below, path, names });
    return names;
  }

  /** The directory that was copied, and how: `rootFd` stays open until all is linked. */
  endSource(rootFd: number, path: string, options: CopyOptions): void {
    this.#source = { rootFd, path, options };
  }

  /** Links what was noted, and copies what cannot be linked. */
  async link(): Promise<void> {
    if (!this.#source) return;
    const { path, options } = this.#source;
    const sourceFd = openInRoot(this.#source.rootFd, path, { flags: openFlags.directory });
    const rootFd = openDirectory(this.#diff);
    const copier = new FileCopier(rootFd, options);
    try {
      for (const { below, path, names } of this.#directories) {
        if (names.length === 0) continue;
        options.signal?.throwIfAborted();
        const from = openInRoot(sourceFd, below || ".", { flags: openFlags.directory, symlinks: "refuse" });
        const to = openInRoot(rootFd, path, { flags: openFlags.directory, symlinks: "refuse" });
        try {
          const { mtimeNs } = statFd(to);
          for (const name of names) {
            // Another layer may have taken the file meanwhile.
            if (isPlain(from, name) && tryLink(from, name, to)) continue;
            const fd = openAt(from, name, { flags: openFlags.readOnly });
            await copier.copyFile(fd, statFd(fd), `${path}/${name}`).finally(() => closeFd(fd));
          }
          // A directory that was copied has its source's time.
          if (below !== "") setTimesFd(to, mtimeNs);
        } finally {
          closeFd(from);
          closeFd(to);
        }
        await breathe();
      }
    } finally {
      closeFd(sourceFd);
      closeFd(rootFd);
    }
  }
}

/**
 * Whether a copy would be the same file in all but its inode. One that has several names already is copied: names of one file in two
 * layers would look like hard links in a container.
 */
function isPlain(directoryFd: number, name: string): boolean {
  if (statAt(directoryFd, name)?.links !== 1) return false;
  return [...readXattrs(procPath(directoryFd, name)).keys()].every((key) => key === "security.capability");
}

function tryLink(from: number, name: string, to: number): boolean {
  try {
    linkAt(from, name, to, name);
    return true;
  } catch (error) {
    if (error instanceof SystemError && unlinkable.has(error.errno)) return false;
    throw error;
  }
}
