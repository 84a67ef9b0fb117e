// Files that COPY and ADD take: of the build's context or of another image, always looked up inside that root.
import { createHash, type Hash } from "node:crypto";
import { read, readSync } from "node:fs";
import { posix } from "node:path";
import { promisify } from "node:util";
import { breathe, splitPath } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import { matchGlob } from "../image/index.ts";
import {
  SystemError,
  closeFd,
  compareNames,
  errnoNumber,
  openAt,
  openDirectory,
  openFlags,
  openInRoot,
  readDirectory,
  readLinkAt,
  readXattr,
  statAt,
  statFd,
  tryOpenInRoot,
  type FileStat,
} from "../kernel/index.ts";
import type { IgnoreRules } from "../spec/index.ts";
import { nearestOf } from "./suggest.ts";

const readAsync = promisify(read);
const chunkBytes = 1024 * 1024;
const smallBytes = 64 * 1024;
const maxNamesLookedAt = 20_000;

/** One file or directory that an instruction names. */
export interface Source {
  /** Relative to the root, clean; `.` is the root itself. */
  readonly path: string;
  readonly type: "file" | "directory";
  /** `file:<hex>` or `dir:<hex>`: of path, mode, owner and content, not of times. */
  readonly digest: string;
  /** Of what a directory holds, path by path, where it was looked at and not remembered. */
  readonly entries?: readonly (readonly [path: string, digest: string])[];
}

export interface ResolveOptions {
  readonly signal: AbortSignal | undefined;
  /** Leaves out what it says, by path below each source. */
  readonly exclude?: IgnoreRules | undefined;
}

export type Remembered = Pick<Source, "digest" | "entries">;

/** Digests that are known already, by path; those of images, and of clients' folders that did not change, outlive the build. */
export interface DigestMemory {
  get(path: string): Remembered | undefined;
  set(path: string, remembered: Remembered): void;
}

export interface SourceTreeOptions {
  readonly memory?: DigestMemory | undefined;
  readonly isContext: boolean;
  /** Whether its files may become a layer's. */
  readonly isOwn?: boolean | undefined;
  /** Whether .dockerignore leaves a path out, so that its absence can be told. */
  readonly ignores?: ((path: string) => boolean) | undefined;
}

/** A root that sources come from. Dispose it to close its descriptor. */
export class SourceTree implements Disposable {
  readonly rootFd: number;
  readonly isOwn: boolean;
  readonly #memory: DigestMemory;
  readonly #isContext: boolean;
  readonly #ignores: ((path: string) => boolean) | undefined;

  constructor(root: string, options: SourceTreeOptions) {
    this.rootFd = openDirectory(root);
    this.isOwn = options.isOwn ?? false;
    this.#memory = options.memory ?? new Map<string, Remembered>();
    this.#isContext = options.isContext;
    this.#ignores = options.ignores;
  }

  [Symbol.dispose](): void {
    closeFd(this.rootFd);
  }

  /** The sources that a word names; a word with wildcards may name many or none. Docker's words in refusals. */
  async resolve(word: string, options: ResolveOptions): Promise<Source[]> {
    const path = relativePath(word);
    if (!hasWildcards(path)) return [await this.#source(path, options)];
    const sources: Source[] = [];
    for (const name of this.#walkNames(".")) {
      if (!matchGlob(posix.normalize(path), name)) continue;
      const source = await this.#source(name, options);
      if (source.type === "file" && options.exclude?.ignores(splitPath(name).base)) continue;
      sources.push(source);
    }
    return sources;
  }

  async #source(path: string, { signal, exclude }: ResolveOptions): Promise<Source> {
    const stat = this.#statFollowed(path);
    const type = stat.type === "directory" ? "directory" : "file";
    const known = exclude ? undefined : this.#memory.get(path);
    if (known !== undefined) return { ...known, path, type };
    const entries = type === "directory" ? await this.#digestDirectory(path, { signal, exclude }) : undefined;
    const digest = entries ? digestOfEntries(entries) : `file:${await this.#digestFollowed(path)}`;
    const found = { digest, ...(entries ? { entries } : {}) };
    if (!exclude) this.#memory.set(path, found);
    return { ...found, path, type };
  }

  /** What `path` is, symlinks followed inside the root. */
  #statFollowed(path: string): FileStat {
    const fd = tryOpenInRoot(this.rootFd, path, { flags: openFlags.path });
    if (fd < 0) throw this.#notThere(path, -fd);
    try {
      return statFd(fd);
    } finally {
      closeFd(fd);
    }
  }

  #notThere(path: string, number: number): EngineError {
    if (number === errnoNumber("ENOENT") || number === errnoNumber("ENOTDIR")) {
      const where = this.#isContext ? "file not found in build context or excluded by .dockerignore: " : "";
      return new EngineError("notFound", `${where}stat ${path}: file does not exist${this.#advice(path)}`);
    }
    return new SystemError("openat2", number, `Cannot look at "${path}"`);
  }

  /** What may have been meant, or why it is missing. */
  #advice(path: string): string {
    if (this.#ignores?.(path)) return " (.dockerignore leaves it out)";
    const names: string[] = [];
    for (const name of this.#walkNames(".")) if (names.push(name) === maxNamesLookedAt) break;
    if (names.includes(path)) return " (it is a symlink to what is not there)";
    const sameName = names.find((name) => splitPath(name).base === splitPath(path).base);
    const other = names.find((name) => name.toLowerCase() === path.toLowerCase());
    const meant = other ?? nearestOf(path, names) ?? sameName;
    return meant === undefined ? "" : ` (did you mean ${meant}?)`;
  }

  async #digestDirectory(path: string, { signal, exclude }: ResolveOptions): Promise<[path: string, digest: string][]> {
    const entries: [string, string][] = [];
    if (path !== ".") entries.push([path, await this.#digestFollowed(path)]);
    for (const name of this.#walkNames(path)) {
      signal?.throwIfAborted();
      if (exclude?.ignores(path === "." ? name : name.slice(path.length + 1))) continue;
      entries.push([name, await this.#digestEntry(name)]);
    }
    return entries;
  }

  /** Every name below a directory in order, parents first, symlinks not followed. */
  *#walkNames(path: string): Generator<string> {
    const fd = openInRoot(this.rootFd, path, { flags: openFlags.directory });
    try {
      for (const name of readDirectory(fd).toSorted(compareNames)) {
        const child = path === "." ? name : `${path}/${name}`;
        yield child;
        if (statAt(fd, name)?.type === "directory") yield* this.#walkNames(child);
      }
    } finally {
      closeFd(fd);
    }
  }

  /** A source itself, which may be a symlink: what is copied is its target. */
  async #digestFollowed(path: string): Promise<string> {
    const fd = openInRoot(this.rootFd, path, { flags: openFlags.path });
    try {
      const stat = statFd(fd);
      const hash = hashHeader(path, stat, "");
      if (stat.type === "file") {
        const content = openInRoot(this.rootFd, path, { flags: openFlags.readOnly | openFlags.nonBlock });
        try {
          await hashContent(hash, content, stat.size);
        } finally {
          closeFd(content);
        }
      }
      return hash.digest("hex");
    } finally {
      closeFd(fd);
    }
  }

  async #digestEntry(path: string): Promise<string> {
    // node's own functions of paths replace what is no text in a name.
    const { parent: folder, base: name } = splitPath(path);
    const parent = openInRoot(this.rootFd, folder, { flags: openFlags.directory });
    try {
      const stat = statAt(parent, name);
      if (!stat) throw new EngineError("conflict", `"${path}" was removed while it was read`);
      const hash = hashHeader(path, stat, stat.type === "symlink" ? readLinkAt(parent, name) : "");
      if (stat.type === "file") {
        // What a folder that others write to had there a moment ago may be a named pipe now.
        const fd = openAt(parent, name, { flags: openFlags.readOnly | openFlags.nonBlock });
        try {
          await hashContent(hash, fd, stat.size);
        } finally {
          closeFd(fd);
        }
      }
      return hash.digest("hex");
    } finally {
      closeFd(parent);
    }
  }
}

function digestOfEntries(entries: readonly (readonly [string, string])[]): string {
  const digests = entries.map(([, digest]) => digest).toSorted();
  return `dir:${createHash("sha256").update(digests.join(",")).digest("hex")}`;
}

function hashHeader(path: string, stat: FileStat, linkText: string): Hash {
  const size = stat.type === "file" ? stat.size : 0;
  const fields = [
    path,
    stat.type,
    stat.mode & 0o7777,
    stat.uid,
    stat.gid,
    size,
    linkText,
    stat.rdevMajor,
    stat.rdevMinor,
  ];
  return createHash("sha256").update(`${JSON.stringify(fields)}\n`);
}

async function hashContent(hash: Hash, fd: number, sizeBytes: number): Promise<void> {
  const capability = readXattr(fd, "security.capability");
  if (capability) hash.update(capability);
  for await (const chunk of readDescriptor(fd, sizeBytes)) hash.update(chunk);
}

/**
 * The bytes of an open file from its beginning; the descriptor stays the caller's. Each chunk is valid until the next. A small
 * file is read at once: handing it to another thread would take longer than reading it.
 */
export async function* readDescriptor(fd: number, sizeBytes = chunkBytes): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, Math.max(512, sizeBytes + 1)));
  const small = buffer.length <= smallBytes;
  for (let position = 0; ;) {
    const count = small
      ? readSync(fd, buffer, 0, buffer.length, position)
      : (await readAsync(fd, buffer, 0, buffer.length, position)).bytesRead;
    if (count === 0) return;
    position += count;
    yield buffer.subarray(0, count);
    if (small) await breathe();
  }
}

/** One digest for what an instruction copies, as it stands in the history. */
export function digestOfSources(digests: readonly string[]): string {
  const [only] = digests;
  if (only !== undefined && digests.length === 1) return only;
  return `multi:${createHash("sha256").update(digests.join(",")).digest("hex")}`;
}

/** A source word as a clean path below its root. Throws invalidArgument with Docker's words for one that climbs out. */
export function relativePath(word: string): string {
  const path = posix.normalize(word.replace(/^\/+/, "").replace(/^(\.\/)+/, "") || ".");
  if (path === ".." || path.startsWith("../")) {
    throw new EngineError("invalidArgument", `forbidden path outside the build context: ${word} ()`);
  }
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

/** Whether a word may name many files. */
export function hasWildcards(path: string): boolean {
  return /(?:^|[^\\])(?:\\\\)*[*?[]/.test(path);
}
