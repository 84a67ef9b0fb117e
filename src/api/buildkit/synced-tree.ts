// The writing side of a folder that follows a client's: every path is resolved below the root and through no symlink.
import { writeSync } from "node:fs";
import { EngineError } from "../../common/index.ts";
import {
  chmodAt,
  chmodFd,
  chownAt,
  chownFd,
  closeFd,
  linkAt,
  mkdirAt,
  mknodAt,
  openAt,
  openDirectory,
  openFlags,
  openInRoot,
  removeTreeAt,
  setTimesAt,
  setTimesFd,
  statAt,
  symlinkAt,
  tryOpenInRoot,
  trySetXattr,
} from "../../kernel/index.ts";
import { kindOfMode, permissionsOfMode } from "./go-file-mode.ts";
import type { Stat } from "./session-messages.ts";

const createFlags = openFlags.writeOnly | openFlags.create | openFlags.exclusive;
const folder = { flags: openFlags.path | openFlags.directory, symlinks: "refuse" } as const;
const maxPathBytes = 4096;

/** A file whose content is coming. */
interface OpenFile {
  readonly stat: Stat;
  readonly fd: number;
  written: number;
}

export class SyncedTree implements Disposable {
  readonly #rootFd: number;
  readonly #files = new Map<number, OpenFile>();
  /** Directories in which something changed, which sets their times anew. */
  readonly #changedDirectories = new Set<string>();
  #parent = { path: "", fd: -1 };

  constructor(root: string) {
    this.#rootFd = openDirectory(root);
  }

  /** Whether the directory's own time must be set at the end. */
  isChanged(directory: string): boolean {
    return this.#changedDirectories.has(directory);
  }

  /** Makes everything but a file's content; replaces what has the name. Sockets stay out. */
  place(stat: Stat): void {
    const { parentFd, name, directory } = this.#locate(stat.path);
    this.#changedDirectories.add(directory);
    const kind = kindOfMode(stat.mode);
    const existing = statAt(parentFd, name);
    const keeps = kind === "directory" && existing?.type === "directory";
    if (existing && !keeps) this.#removeAt(stat.path, parentFd);
    const mode = permissionsOfMode(stat.mode);
    if (kind === "socket") return;
    if (kind === "directory") mkdirAt(parentFd, name, 0o700);
    else if (kind === "symlink") symlinkAt(stat.linkname, parentFd, name);
    else if (kind === "file") return this.#link(stat, parentFd, name);
    else mknodAt(parentFd, name, { type: kind, mode, major: stat.devmajor, minor: stat.devminor });
    chownAt(parentFd, name, stat);
    if (kind !== "symlink") chmodAt(parentFd, name, mode);
    if (kind === "directory") this.#changedDirectories.add(stat.path);
    else setTimesAt(parentFd, name, stat.modTime);
  }

  /** Only owner, mode and time of a file whose content is as it was. */
  touch(stat: Stat): void {
    const { parentFd, name } = this.#locate(stat.path);
    chownAt(parentFd, name, stat);
    chmodAt(parentFd, name, permissionsOfMode(stat.mode));
    setTimesAt(parentFd, name, stat.modTime);
  }

  /** Nothing happens where the path, or a folder on the way to it, is gone already. */
  remove(path: string): void {
    const { directory, base } = split(path);
    const fd = tryOpenInRoot(this.#rootFd, directory, folder);
    if (fd < 0) return;
    try {
      if (statAt(fd, base)) this.#removeAt(path, fd);
    } finally {
      closeFd(fd);
    }
  }

  /** A piece of a file's content, in order; `id` is whatever the caller tells files apart by. */
  write(id: number, stat: Stat, data: Uint8Array): void {
    const file = this.#open(id, stat);
    if (file.written + data.length > stat.size) throw changed(stat);
    for (let done = 0; done < data.length;) done += writeSync(file.fd, data, done, data.length - done);
    file.written += data.length;
  }

  /** The content is whole. Throws invalidArgument when it is not as long as its stat says. */
  close(id: number, stat: Stat): void {
    const file = this.#open(id, stat);
    if (file.written !== stat.size) throw changed(stat);
    chownFd(file.fd, stat);
    chmodFd(file.fd, permissionsOfMode(stat.mode));
    // Capabilities and the like go along where the file system takes them.
    for (const [name, value] of stat.xattrs) trySetXattr(file.fd, name, value);
    setTimesFd(file.fd, stat.modTime);
    closeFd(file.fd);
    this.#files.delete(id);
  }

  /** Sets a directory's time, once nothing in it will change any more. */
  setDirectoryTime(stat: Stat): void {
    const { parentFd, name } = this.#locate(stat.path);
    setTimesAt(parentFd, name, stat.modTime);
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) closeFd(file.fd);
    this.#files.clear();
    this.#leaveParent();
    closeFd(this.#rootFd);
  }

  #open(id: number, stat: Stat): OpenFile {
    const open = this.#files.get(id);
    if (open) return open;
    const { parentFd, name, directory } = this.#locate(stat.path);
    this.#changedDirectories.add(directory);
    const file = { stat, fd: openAt(parentFd, name, { flags: createFlags, mode: 0o600 }), written: 0 };
    this.#files.set(id, file);
    return file;
  }

  /** A file with a link name is one more name of a file that came before; its content is not sent again. */
  #link(stat: Stat, parentFd: number, name: string): void {
    if (stat.linkname === "") return;
    checkPath(stat.linkname);
    const { directory, base } = split(stat.linkname);
    const fd = openInRoot(this.#rootFd, directory, folder);
    try {
      linkAt(fd, base, parentFd, name);
    } finally {
      closeFd(fd);
    }
  }

  #removeAt(path: string, parentFd: number): void {
    removeTreeAt(parentFd, split(path).base);
    this.#changedDirectories.add(split(path).directory);
    // A folder of the same name may come again, and is another one.
    if (`${this.#parent.path}/`.startsWith(`${path}/`)) this.#leaveParent();
  }

  /** The open parent of a path; the last one is kept, since files of one folder come together. */
  #locate(path: string): { parentFd: number; name: string; directory: string } {
    const { directory, base } = split(path);
    if (this.#parent.fd < 0 || this.#parent.path !== directory) {
      this.#leaveParent();
      this.#parent = { path: directory, fd: openInRoot(this.#rootFd, directory, folder) };
    }
    return { parentFd: this.#parent.fd, name: base, directory };
  }

  #leaveParent(): void {
    if (this.#parent.fd >= 0) closeFd(this.#parent.fd);
    this.#parent = { path: "", fd: -1 };
  }
}

/** Refuses a path that is not plain and relative. */
export function checkPath(path: string): void {
  const parts = path.split("/");
  const plain = parts.every((part) => part !== "" && part !== "." && part !== "..");
  if (plain && !path.includes("\0") && Buffer.byteLength(path) < maxPathBytes) return;
  throw new EngineError(
    "invalidArgument",
    `The client sent the path ${JSON.stringify(path.slice(0, 200))}, which may climb out`,
  );
}

function split(path: string): { directory: string; base: string } {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? { directory: ".", base: path } : { directory: path.slice(0, slash), base: path.slice(slash + 1) };
}

function changed(stat: Stat): EngineError {
  return new EngineError(
    "invalidArgument",
    `"${stat.path}" changed while it was read: it was ${stat.size} bytes long when the context was listed; build again`,
  );
}
