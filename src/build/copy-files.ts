// Writes into a root that an image may have prepared: every name is resolved inside it, and what lies at a destination is
// replaced by Docker's rules (a directory merges into a directory; anything else gives way).
import { write } from "node:fs";
import { promisify } from "node:util";
import { joinPath, resolveInRoot, splitPath } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import {
  SystemError,
  chmodAt,
  chmodFd,
  chownAt,
  chownFd,
  closeFd,
  compareNames,
  errnoNumber,
  linkAt,
  mkdirAt,
  mknodAt,
  openAt,
  openFlags,
  openInRoot,
  readDirectory,
  readLinkAt,
  readXattr,
  removeTreeAt,
  setTimesAt,
  setTimesFd,
  statAt,
  symlinkAt,
  trySetXattr,
  tryOpenInRoot,
  tryUnlinkAt,
  type FileStat,
} from "../kernel/index.ts";
import type { IgnoreRules } from "../spec/index.ts";
import type { LinkedFiles } from "./linked-files.ts";
import type { ModeChange } from "./mode-change.ts";
import { readDescriptor } from "./source-tree.ts";

const writeAsync = promisify(write);

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface CopyOptions {
  /** Undefined keeps the owner of each file. */
  readonly owner: Owner | undefined;
  /** Undefined keeps the mode of each file. */
  readonly mode: ModeChange | undefined;
  /** Leaves out what it says, by path below the directory that is copied. */
  readonly exclude?: IgnoreRules | undefined;
  readonly signal: AbortSignal | undefined;
  /** Takes files that need not change; whoever gave it links them when all is copied. */
  readonly linked?: LinkedFiles | undefined;
}

/** A place in the destination root: an open directory, and its path there. */
interface Place {
  readonly fd: number;
  readonly path: string;
  /** The same from the directory that is copied. */
  readonly below: string;
  /** Names of files that are linked later; undefined where none can be. */
  readonly linked?: string[] | undefined;
}

/** Copies into one root. Hard links among the files it copies stay hard links. */
export class FileCopier {
  readonly #links = new Map<string, { directory: string; name: string }>();

  constructor(
    readonly rootFd: number,
    readonly options: CopyOptions,
  ) {}

  /** Makes a missing directory: with the mode and owner of `like` where it is given, else as `makeDirectories` does. */
  makeDirectory(destination: string, like?: FileStat): void {
    const owner = this.options.owner ?? like;
    const mode = like && this.#modeOf(like);
    closeFd(makeDirectories(this.rootFd, destination, owner && { uid: owner.uid, gid: owner.gid, mode }));
  }

  /** The contents of a source directory into `destination`, which is made when missing. */
  async copyDirectory(sourceFd: number, destination: string): Promise<void> {
    const fd = makeDirectories(this.rootFd, destination, this.options.owner);
    try {
      await this.#copyContents(sourceFd, this.#place(fd, { path: destination, below: "" }));
    } finally {
      closeFd(fd);
    }
  }

  /** One file, open for reading, to be `destination`; its folder is made when missing. */
  async copyFile(sourceFd: number, stat: FileStat, destination: string): Promise<void> {
    await this.#into(destination, async (place, name) => this.#writeFile(sourceFd, stat, { place, name }));
  }

  /** Text of a heredoc. */
  async writeText(text: string, destination: string): Promise<void> {
    await this.#into(destination, async ({ fd }, name) => {
      makeRoom(fd, name, { keepDirectory: false });
      const file = openAt(fd, name, {
        flags: openFlags.writeOnly | openFlags.create | openFlags.exclusive,
        mode: 0o600,
      });
      try {
        await writeAll(file, Buffer.from(text));
        chownFd(file, this.options.owner ?? { uid: 0, gid: 0 });
        chmodFd(file, this.options.mode?.apply(0o644, { isDirectory: false }) ?? 0o644);
      } finally {
        closeFd(file);
      }
    });
  }

  #place(fd: number, place: Pick<Place, "path" | "below">): Place {
    return { ...place, fd, linked: this.options.linked?.directory(place) };
  }

  #canLink(name: string, { place, stat }: { place: Place; stat: FileStat }): boolean {
    const { uid, gid } = this.options.owner ?? stat;
    if (uid !== stat.uid || gid !== stat.gid || (this.#modeOf(stat) & 0o7777) !== (stat.mode & 0o7777)) return false;
    return stat.links === 1 && !statAt(place.fd, name);
  }

  #modeOf(stat: FileStat): number {
    const { mode } = this.options;
    return mode ? mode.apply(stat.mode & 0o7777, { isDirectory: stat.type === "directory" }) : stat.mode;
  }

  async #into(destination: string, action: (place: Place, name: string) => Promise<void>): Promise<void> {
    const { parent, base } = splitPath(destination);
    const path = parent || "/";
    const fd = makeDirectories(this.rootFd, path, this.options.owner);
    try {
      await action({ fd, path, below: "" }, base);
    } finally {
      closeFd(fd);
    }
  }

  async #copyContents(sourceFd: number, place: Place): Promise<void> {
    for (const name of readDirectory(sourceFd).toSorted(compareNames)) {
      this.options.signal?.throwIfAborted();
      const { exclude } = this.options;
      const below = joinPath(place.below, name);
      const excluded = exclude?.ignores(below) === true;
      if (excluded && !(exclude?.hasExceptions && statAt(sourceFd, name)?.type === "directory")) continue;
      await this.#copyEntry(sourceFd, name, place);
      // Kept only for what an exception takes back in.
      if (excluded) tryUnlinkAt(place.fd, name, { directory: true });
    }
  }

  async #copyEntry(sourceFd: number, name: string, place: Place): Promise<void> {
    const stat = statAt(sourceFd, name);
    if (!stat) throw new EngineError("conflict", `"${name}" was removed while it was copied`);
    switch (stat.type) {
      case "directory":
        return this.#copySubdirectory(sourceFd, name, { place, stat });
      case "file": {
        if (place.linked && this.#canLink(name, { place, stat })) {
          place.linked.push(name);
          return;
        }
        const fd = openAt(sourceFd, name, { flags: openFlags.readOnly });
        try {
          return await this.#writeFile(fd, stat, { place, name });
        } finally {
          closeFd(fd);
        }
      }
      case "symlink":
        makeRoom(place.fd, name, { keepDirectory: false });
        symlinkAt(readLinkAt(sourceFd, name), place.fd, name);
        return this.#finishEntry(stat, { place, name });
      case "character":
      case "block":
      case "fifo":
        return this.#copyNode(stat, stat.type, { place, name });
      case "socket":
        // A socket means nothing without the process that listens; no archive carries one either.
        return;
    }
  }

  async #copySubdirectory(
    sourceFd: number,
    name: string,
    { place, stat }: { place: Place; stat: FileStat },
  ): Promise<void> {
    makeRoom(place.fd, name, { keepDirectory: true });
    mkdirAt(place.fd, name, 0o700);
    const from = openAt(sourceFd, name, { flags: openFlags.directory });
    try {
      const to = openAt(place.fd, name, { flags: openFlags.directory });
      try {
        const path = `${place.path === "/" ? "" : place.path}/${name}`;
        await this.#copyContents(from, this.#place(to, { path, below: joinPath(place.below, name) }));
        chownFd(to, this.options.owner ?? stat);
        chmodFd(to, this.#modeOf(stat));
        setTimesFd(to, stat.mtimeNs);
      } finally {
        closeFd(to);
      }
    } finally {
      closeFd(from);
    }
  }

  async #writeFile(sourceFd: number, stat: FileStat, { place, name }: { place: Place; name: string }): Promise<void> {
    makeRoom(place.fd, name, { keepDirectory: false });
    if (stat.links > 1 && this.#linkAgain(stat, { place, name })) return;
    const file = openAt(place.fd, name, {
      flags: openFlags.writeOnly | openFlags.create | openFlags.exclusive,
      mode: 0o600,
    });
    try {
      for await (const chunk of readDescriptor(sourceFd, stat.size)) {
        this.options.signal?.throwIfAborted();
        await writeAll(file, chunk);
      }
      // chown clears set-user-ID and capabilities, so both are given after it.
      chownFd(file, this.options.owner ?? stat);
      chmodFd(file, this.#modeOf(stat));
      copyCapability(sourceFd, file);
      setTimesFd(file, stat.mtimeNs);
    } finally {
      closeFd(file);
    }
  }

  #linkAgain(stat: FileStat, { place, name }: { place: Place; name: string }): boolean {
    const first = this.#links.get(stat.identity);
    if (!first) {
      this.#links.set(stat.identity, { directory: place.path, name });
      return false;
    }
    const fd = openInRoot(this.rootFd, first.directory, { flags: openFlags.directory });
    try {
      if (statAt(fd, first.name)?.type !== "file") return false;
      linkAt(fd, first.name, place.fd, name);
      return true;
    } finally {
      closeFd(fd);
    }
  }

  #copyNode(
    stat: FileStat,
    type: "character" | "block" | "fifo",
    { place, name }: { place: Place; name: string },
  ): void {
    if (type === "character" && stat.rdevMajor === 0 && stat.rdevMinor === 0) {
      throw new EngineError(
        "invalidArgument",
        `"${name}" is a character device 0:0, which would hide a file of the image`,
      );
    }
    makeRoom(place.fd, name, { keepDirectory: false });
    mknodAt(place.fd, name, { type, mode: stat.mode, major: stat.rdevMajor, minor: stat.rdevMinor });
    this.#finishEntry(stat, { place, name });
    chmodAt(place.fd, name, this.#modeOf(stat));
  }

  #finishEntry(stat: FileStat, { place, name }: { place: Place; name: string }): void {
    chownAt(place.fd, name, this.options.owner ?? stat);
    setTimesAt(place.fd, name, stat.mtimeNs);
  }
}

function makeRoom(directoryFd: number, name: string, options: { keepDirectory: boolean }): void {
  const present = statAt(directoryFd, name);
  if (!present || (options.keepDirectory && present.type === "directory")) return;
  removeTreeAt(directoryFd, name);
}

function copyCapability(from: number, to: number): void {
  const capability = readXattr(from, "security.capability");
  if (capability) trySetXattr(to, "security.capability", capability);
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await writeAsync(fd, bytes, done, bytes.length - done);
    done += bytesWritten;
  }
}

/**
 * Opens a directory inside the root, symlinks followed inside it; what is missing is made as `owner` says
 * (root's and with mode 0755 where that is undefined). The caller closes the descriptor.
 */
export function makeDirectories(
  rootFd: number,
  path: string,
  owner: (Owner & { readonly mode?: number | undefined }) | undefined,
): number {
  // A symlink may lead to a place that is made only now, so it is followed by its text.
  const resolved = resolveInRoot(rootFd, path, { follow: true, allowMissing: true });
  const parts = resolved.split("/").filter((part) => part !== "");
  let current = openInRoot(rootFd, ".", { flags: openFlags.directory });
  for (const [index, name] of parts.entries()) {
    const prefix = parts.slice(0, index + 1).join("/");
    const next = tryOpenInRoot(rootFd, prefix, { flags: openFlags.directory, symlinks: "refuse" });
    if (next === -errnoNumber("ENOENT") && mkdirAt(current, name, 0o755)) {
      const made = openAt(current, name, { flags: openFlags.directory });
      chownFd(made, owner ?? { uid: 0, gid: 0 });
      chmodFd(made, owner?.mode ?? 0o755);
      closeFd(current);
      current = made;
      continue;
    }
    closeFd(current);
    if (next < 0) throw new SystemError("openat2", -next, `Cannot use "/${prefix}" of the image as a directory`);
    current = next;
  }
  return current;
}

/** Whether `path` is a directory inside the root, symlinks followed. */
export function isDirectoryInRoot(rootFd: number, path: string): boolean {
  const fd = tryOpenInRoot(rootFd, path, { flags: openFlags.path | openFlags.directory });
  if (fd < 0) return false;
  closeFd(fd);
  return true;
}
