// Makes an archive's files below a directory, synchronously. What a name leads to is decided by openat2 inside the root.
import { writeSync } from "node:fs";
import { EngineError, toEngineError } from "../common/index.ts";
import {
  chmodAt,
  chmodFd,
  chownAt,
  chownFd,
  closeFd,
  errnoName,
  errnoNumber,
  linkAt,
  mkdirAt,
  mknodAt,
  openAt,
  openFlags,
  procPath,
  removeTreeAt,
  setTimesAt,
  setTimesFd,
  statAt,
  symlinkAt,
  SystemError,
  trySetXattr,
  truncateFd,
  tryOpenAt,
  tryOpenInRoot,
  type FileStat,
  type XattrTarget,
} from "../kernel/index.ts";
import { joinPath, memberPath, splitPath } from "./member-path.ts";
import { ParentDirectories } from "./parent-directories.ts";
import { tarError, type TarHeader } from "./tar-header.ts";
import type { TarSink } from "./tar-parser.ts";

export interface TreeWriterOptions {
  readonly rootFd: number;
  /** Existing directory below the root that names count from; "" is the root. */
  readonly base: string;
  readonly chown?: { readonly uid: number; readonly gid: number };
  /** A directory is not replaced by something else, nor the other way round. */
  readonly noOverwriteDirNonDir?: boolean;
}

const eexist = errnoNumber("EEXIST");
const createFlags = openFlags.writeOnly | openFlags.create | openFlags.exclusive;
/** Labels of the host's own security modules: they mean nothing on another host. */
const hostLabels = new Set([
  "security.selinux",
  "security.ima",
  "security.evm",
  "security.apparmor",
  "security.SMACK64",
]);

export class TreeWriter implements TarSink, Disposable {
  protected readonly rootFd: number;
  protected readonly parents: ParentDirectories;
  readonly #options: TreeWriterOptions;
  /** Directories whose time is set at the end, since every file put into them changes it. */
  readonly #directoryTimes = new Map<string, bigint>();
  readonly #implied = new Set<string>();
  #fileFd = -1;
  #file: TarHeader | undefined;
  #written = 0;
  #sizeBytes = 0;
  #replaced = false;

  constructor(options: TreeWriterOptions) {
    this.#options = options;
    this.rootFd = options.rootFd;
    this.parents = new ParentDirectories({
      rootFd: options.rootFd,
      base: options.base,
      onImplied: (path) => this.#implied.add(path),
      makeRoom: (fd, name, path) => this.makeRoom(fd, name, path),
    });
  }

  /** Bytes of files and symlinks made; only a bound once something was replaced (`replaced`). */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }
  get replaced(): boolean {
    return this.#replaced;
  }
  /** Directories that entries needed and the archive did not list, parents first. */
  get impliedDirectories(): string[] {
    return [...this.#implied];
  }

  entry(header: TarHeader): void {
    try {
      this.place(header, memberPath(header.name));
    } catch (thrown) {
      const error = toEngineError(thrown);
      throw new EngineError(error.code, `Cannot unpack "${header.name}": ${error.message}`, {
        cause: error,
        data: error.data,
      });
    }
  }

  data(bytes: Uint8Array, offset: number): void {
    if (this.#fileFd < 0) return;
    for (let done = 0; done < bytes.length;) {
      try {
        done += writeSync(this.#fileFd, bytes, done, bytes.length - done, offset + done);
      } catch (thrown) {
        throw this.#writeError(thrown);
      }
    }
    this.#written = offset + bytes.length;
  }

  end(): void {
    const header = this.#file;
    if (!header) return;
    const fd = this.#fileFd;
    // Anything after the last stored byte of a sparse file is a hole.
    if (this.#written < header.size) truncateFd(fd, header.size);
    this.#attributes(fd, header);
    this.#closeFile();
    this.#sizeBytes += header.size;
  }

  /** A subclass made a directory that the archive has not listed. */
  protected noteImplied(path: string): void {
    this.#implied.add(path);
  }

  /** Sets what had to wait for the last entry. */
  finish(): void {
    for (const [path, mtimeNs] of this.#directoryTimes) {
      const fd = tryOpenInRoot(this.rootFd, joinPath(this.#options.base, path), { flags: openFlags.directory });
      // Something that came later may have taken its place.
      if (fd < 0) continue;
      setTimesFd(fd, mtimeNs);
      closeFd(fd);
    }
  }

  [Symbol.dispose](): void {
    if (this.#fileFd >= 0) this.#closeFile();
    this.parents[Symbol.dispose]();
  }

  /** Whether a non-directory where a directory is needed may go; true when it is gone. */
  protected makeRoom(_parentFd: number, _name: string, _path: string): boolean {
    return false;
  }

  /** Makes the entry at `path`; a body goes to it until `end`. */
  protected place(header: TarHeader, path: string): void {
    if (path === "") return this.placeRoot(header);
    const { parent, base } = splitPath(path);
    const parentFd = this.parents.open(parent);
    switch (header.type) {
      case "file":
        this.#placeFile(header, { parentFd, base, path });
        break;
      case "directory":
        this.#placeDirectory(header, { parentFd, base, path });
        break;
      case "hardlink":
        this.#placeLink(header, { parentFd, base, path });
        break;
      default:
        this.#placeNode(header, { parentFd, base, path });
    }
  }

  /** An entry for the directory itself: nothing by default, since it is not the archive's to change. */
  protected placeRoot(header: TarHeader): void {
    if (header.type !== "directory") throw tarError(`"${header.name}" is no directory and would replace the root`);
  }

  /** Attributes of the root, for writers that own it. */
  protected settleRoot(header: TarHeader): void {
    const fd = tryOpenInRoot(this.rootFd, this.#options.base, { flags: openFlags.directory });
    if (fd < 0) throw new SystemError("openat2", -fd, "Cannot open the root");
    this.#attributes(fd, header);
    closeFd(fd);
    this.#directoryTimes.set("", header.mtimeNs);
  }

  /** Where a hard link's other name is: a parent's descriptor, which the caller closes, and a base name. */
  protected linkTarget(linkName: string): { fd: number; base: string } {
    const path = memberPath(linkName);
    const { parent, base } = splitPath(path);
    const fd = this.parents.tryOpen(parent);
    if (fd < 0) throw new SystemError("openat2", -fd, `Cannot open "${parent}" for a hard link`);
    return { fd, base };
  }

  #placeFile(header: TarHeader, at: Place): void {
    let fd = tryOpenAt(at.parentFd, at.base, { flags: createFlags, mode: 0o600 });
    if (-fd === eexist) {
      this.clear(header, at);
      fd = openAt(at.parentFd, at.base, { flags: createFlags, mode: 0o600 });
    }
    if (fd < 0) throw new SystemError("openat", -fd, `Cannot make "${at.base}"`);
    this.#fileFd = fd;
    this.#file = header;
    this.#written = 0;
  }

  #placeDirectory(header: TarHeader, at: Place): void {
    if (!mkdirAt(at.parentFd, at.base, 0o700)) {
      const existing = statAt(at.parentFd, at.base);
      if (existing?.type !== "directory") {
        this.clear(header, at);
        mkdirAt(at.parentFd, at.base, 0o700);
        if (existing) this.onReplaced(existing, at);
      }
    }
    const fd = openAt(at.parentFd, at.base, { flags: openFlags.directory });
    try {
      this.#attributes(fd, header);
    } finally {
      closeFd(fd);
    }
    this.#implied.delete(at.path);
    this.#directoryTimes.set(at.path, header.mtimeNs);
  }

  /** Told after a directory took the place of something else. */
  protected onReplaced(_stat: FileStat, _at: Place): void {}

  #placeLink(header: TarHeader, at: Place): void {
    const target = this.linkTarget(header.linkName);
    try {
      const original = statAt(target.fd, target.base);
      if (!original || target.base === "") {
        throw new EngineError("invalidArgument", `its other name "${header.linkName}" is not there`);
      }
      const present = statAt(at.parentFd, at.base);
      // tar(1) writes a name that was given twice as a link to itself.
      if (present?.identity === original.identity) return;
      if (original.type === "directory") throw new EngineError("invalidArgument", "a directory cannot have two names");
      if (present) this.clear(header, at);
      linkAt(target.fd, target.base, at.parentFd, at.base);
    } finally {
      closeFd(target.fd);
    }
  }

  #placeNode(header: TarHeader, at: Place): void {
    if (statAt(at.parentFd, at.base)) this.clear(header, at);
    if (header.type === "symlink") {
      if (header.linkName === "") throw tarError("a symlink leads to nothing");
      symlinkAt(header.linkName, at.parentFd, at.base);
      this.#sizeBytes += Buffer.byteLength(header.linkName);
    } else if (header.type === "character" || header.type === "block" || header.type === "fifo") {
      mknodAt(at.parentFd, at.base, { type: header.type, mode: 0o600, major: header.major, minor: header.minor });
    }
    chownAt(at.parentFd, at.base, this.#options.chown ?? header);
    if (header.type !== "symlink") chmodAt(at.parentFd, at.base, header.mode);
    this.#setXattrs(procPath(at.parentFd, at.base), header);
    setTimesAt(at.parentFd, at.base, header.mtimeNs);
  }

  /** Removes what stands where the entry goes. */
  protected clear(header: TarHeader, at: Place): void {
    const present = statAt(at.parentFd, at.base);
    if (!present) return;
    if (
      this.#options.noOverwriteDirNonDir === true &&
      (present.type === "directory") !== (header.type === "directory")
    ) {
      throw new EngineError(
        "invalidArgument",
        present.type === "directory"
          ? `cannot overwrite directory "${at.path}" with non-directory "${header.name}"`
          : `cannot overwrite non-directory "${at.path}" with directory "${header.name}"`,
      );
    }
    this.#replaced = true;
    removeTreeAt(at.parentFd, at.base);
    if (present.type !== "directory") return;
    this.#forgetBelow(at.path);
  }

  #forgetBelow(path: string): void {
    for (const known of [...this.#directoryTimes.keys(), ...this.#implied]) {
      if (known !== path && !known.startsWith(`${path}/`)) continue;
      this.#directoryTimes.delete(known);
      this.#implied.delete(known);
    }
    // The parent's descriptor is in use by the caller and stays right: only what was below is gone.
    this.parents.forgetBelow(path);
  }

  /** Order matters: a change of owner clears set-id bits and file capabilities, and everything changes the time. */
  #attributes(fd: number, header: TarHeader): void {
    chownFd(fd, this.#options.chown ?? header);
    chmodFd(fd, header.mode);
    this.#setXattrs(fd, header);
    setTimesFd(fd, header.mtimeNs);
  }

  #setXattrs(target: XattrTarget, header: TarHeader): void {
    for (const [name, value] of header.xattrs) {
      if (/^(trusted|user)\.overlay\./.test(name)) {
        throw tarError(`the attribute ${name} is the overlay file system's own`);
      }
      if (hostLabels.has(name)) continue;
      const number = trySetXattr(target, name, value);
      // A file system or kind of file without such attributes: as Docker, go on without.
      if (number === 0 || ["ENOTSUP", "EPERM"].includes(errnoName(number))) continue;
      throw new SystemError("setxattr", number, `cannot set the attribute ${JSON.stringify(name)}`);
    }
  }

  #writeError(thrown: unknown): Error {
    const code = (thrown as { code?: string }).code;
    const number = code === undefined ? 5 : errnoNumber(code);
    return new SystemError("write", number, `Cannot write "${this.#file?.name ?? ""}"`);
  }

  #closeFile(): void {
    closeFd(this.#fileFd);
    this.#fileFd = -1;
    this.#file = undefined;
  }
}

export interface Place {
  readonly parentFd: number;
  readonly base: string;
  readonly path: string;
}
