// Descriptors of the directories that entries go to. One is opened once inside the root and used while entries follow in it.
import { EngineError } from "../common/index.ts";
import { chmodFd, closeFd, errnoNumber, mkdirAt, openFlags, SystemError, tryOpenInRoot } from "../kernel/index.ts";
import { joinPath, splitPath } from "./member-path.ts";

const cacheSize = 64;
const directoryFlags = openFlags.path | openFlags.directory;
const enoent = errnoNumber("ENOENT");
const enotdir = errnoNumber("ENOTDIR");
const eloop = errnoNumber("ELOOP");

export interface ParentOptions {
  readonly rootFd: number;
  /** Prepended to every path; must exist. */
  readonly base: string;
  /** Told of each directory that was made because an entry needed it and the archive had not listed it. */
  readonly onImplied: (path: string) => void;
  /** May clear a non-directory out of the way; true when it did. */
  readonly makeRoom: (parentFd: number, name: string, path: string) => boolean;
}

export class ParentDirectories implements Disposable {
  readonly #options: ParentOptions;
  readonly #open = new Map<string, number>();

  constructor(options: ParentOptions) {
    this.#options = options;
  }

  /** An O_PATH descriptor, valid until the next call of `open` or `forget`. Missing directories are made. */
  open(path: string): number {
    const cached = this.#open.get(path);
    if (cached !== undefined) return cached;
    const fd = this.#openOrMake(path);
    if (this.#open.size >= cacheSize) this.forget();
    this.#open.set(path, fd);
    return fd;
  }

  /** An open directory without making anything; a negative errno otherwise. The caller closes it. */
  tryOpen(path: string): number {
    return tryOpenInRoot(this.#options.rootFd, joinPath(this.#options.base, path), { flags: directoryFlags });
  }

  forget(): void {
    for (const fd of this.#open.values()) closeFd(fd);
    this.#open.clear();
  }

  /** Must be called after the tree at `path` was removed: descriptors in it lead nowhere. */
  forgetBelow(path: string): void {
    for (const [known, fd] of this.#open) {
      if (known !== path && !known.startsWith(`${path}/`)) continue;
      closeFd(fd);
      this.#open.delete(known);
    }
  }

  [Symbol.dispose](): void {
    this.forget();
  }

  #openOrMake(path: string): number {
    const fd = this.tryOpen(path);
    if (fd >= 0) return fd;
    if (-fd === eloop) throw new EngineError("invalidArgument", `"${path}" leads through a loop of symlinks`);
    if ((-fd !== enoent && -fd !== enotdir) || path === "")
      throw new SystemError("openat2", -fd, `Cannot open "${path}"`);
    const { parent, base } = splitPath(path);
    const parentFd = this.#openOrMake(parent);
    try {
      if (mkdirAt(parentFd, base, 0o755)) this.#settle(path);
      else if (this.#options.makeRoom(parentFd, base, path)) return this.#openOrMake(path);
    } finally {
      closeFd(parentFd);
    }
    const made = this.tryOpen(path);
    if (made < 0) {
      throw new EngineError("invalidArgument", `"${path}" is needed as a directory and is none`, {
        cause: new SystemError("openat2", -made, `Cannot open "${path}"`),
      });
    }
    return made;
  }

  /** The process's umask must not decide an implied directory's mode. */
  #settle(path: string): void {
    this.#options.onImplied(path);
    const fd = tryOpenInRoot(this.#options.rootFd, joinPath(this.#options.base, path), { flags: openFlags.directory });
    if (fd < 0) return;
    chmodFd(fd, 0o755);
    closeFd(fd);
  }
}
