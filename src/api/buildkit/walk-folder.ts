// A folder as its owner tells it to the other side: in the order of a walk, less what filters leave out.
import { lstatSync, readdirSync, readlinkSync, type BigIntStats } from "node:fs";
import { join, posix } from "node:path";
import { createIgnoreRules, type IgnoreRules } from "../../spec/index.ts";
import { goFileMode, kindOfMode, type FileKind } from "./go-file-mode.ts";
import type { Stat } from "./session-messages.ts";

export interface FolderFilter {
  /** Patterns as .dockerignore has them; none: everything. */
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  /** Paths that come along with whatever their symlinks lead to inside the folder. */
  readonly followPaths: readonly string[];
}

/** Stats in order; owners are root's, as docker's client has them. Sockets stay out. A folder comes only with something in it where `include` says what to take. */
export function* walkFolder(root: string, filter: FolderFilter): Generator<Stat> {
  const include = [...filter.include, ...filter.followPaths.flatMap((path) => followLinks(root, path))];
  yield* new FolderWalk(root, {
    wanted: include.length > 0 ? createIgnoreRules(include) : undefined,
    prefixes: include.map(plainPrefix),
    unwanted: filter.exclude.length > 0 ? createIgnoreRules(filter.exclude) : undefined,
  }).below("", []);
}

class FolderWalk {
  /** Files with several names that were told, by device and inode: later names are links to the first. */
  readonly #linked = new Map<string, string>();

  constructor(
    private readonly root: string,
    private readonly rules: {
      wanted: IgnoreRules | undefined;
      prefixes: readonly string[];
      unwanted: IgnoreRules | undefined;
    },
  ) {}

  /** `parents`: folders on the way here that are told only once something in them is. */
  *below(directory: string, parents: Stat[]): Generator<Stat> {
    for (const name of sortedNames(join(this.root, directory))) {
      const path = directory === "" ? name : `${directory}/${name}`;
      const stat = lstatSync(join(this.root, path), { bigint: true, throwIfNoEntry: false });
      if (!stat || stat.isSocket()) continue;
      const isDirectory = stat.isDirectory();
      const { wanted, unwanted } = this.rules;
      const excluded = unwanted?.ignores(path) ?? false;
      const taken = !excluded && (wanted?.ignores(path) ?? true);
      const told = taken || isDirectory ? statOf(this.root, path, stat) : undefined;
      if (taken && told) {
        yield* parents.splice(0);
        yield this.#asLink(told, stat);
      }
      if (!isDirectory || !told || !this.#mayHold(path, excluded)) continue;
      if (!taken) parents.push(told);
      yield* this.below(path, parents);
      // Nothing in it was told.
      if (parents.at(-1) === told) parents.pop();
    }
  }

  #asLink(told: Stat, stat: BigIntStats): Stat {
    if (!stat.isFile() || stat.nlink < 2n) return told;
    const inode = `${stat.dev}:${stat.ino}`;
    const linkname = this.#linked.get(inode);
    if (linkname !== undefined) return { ...told, linkname, size: 0 };
    this.#linked.set(inode, told.path);
    return told;
  }

  #mayHold(directory: string, excluded: boolean): boolean {
    if (excluded && !this.rules.unwanted?.hasExceptions) return false;
    if (!this.rules.wanted) return true;
    return this.rules.prefixes.some(
      (prefix) => `${directory}/`.startsWith(prefix) || prefix.startsWith(`${directory}/`) || prefix === directory,
    );
  }
}

function sortedNames(directory: string): string[] {
  const names = readdirSync(directory);
  // UTF-8 has the order of code points, which is not that of JavaScript's strings beyond ASCII.
  return names.some((name) => /[^\0-\x7f]/.test(name))
    ? names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    : names.toSorted();
}

/** What a pattern's matches begin with: everything before its first wildcard. */
function plainPrefix(pattern: string): string {
  const clean = posix.normalize(pattern).replace(/^\//, "").replace(/\/$/, "");
  const wildcard = clean.search(/[*?[\\]/);
  return wildcard < 0 ? clean : clean.slice(0, clean.lastIndexOf("/", wildcard) + 1);
}

const maxLinks = 255;

/** The path and each place that its symlinks lead to, as far as they stay inside. */
function followLinks(root: string, path: string): string[] {
  const found: string[] = [];
  let next = posix.join("/", path).slice(1);
  for (let links = 0; links < maxLinks && next !== ""; links += 1) {
    found.push(next);
    const link = firstLink(root, next);
    if (!link) return found;
    found.push(link.path);
    const target = readlinkSync(join(root, link.path));
    next = posix
      .join("/", target.startsWith("/") ? target : posix.join(posix.dirname(link.path), target), link.rest)
      .slice(1);
  }
  return found;
}

function firstLink(root: string, path: string): { path: string; rest: string } | undefined {
  const parts = path.split("/");
  for (let count = 1; count <= parts.length; count += 1) {
    const part = parts.slice(0, count).join("/");
    const stat = lstatSync(join(root, part), { throwIfNoEntry: false });
    if (!stat) return undefined;
    if (stat.isSymbolicLink()) return { path: part, rest: parts.slice(count).join("/") };
  }
  return undefined;
}

function kindOf(stat: BigIntStats): FileKind {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isFIFO()) return "fifo";
  if (stat.isSocket()) return "socket";
  return stat.isBlockDevice() ? "block" : "character";
}

const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();

function statOf(root: string, path: string, stat: BigIntStats): Stat {
  const kind = kindOf(stat);
  const device = Number(stat.rdev);
  const isDevice = kind === "character" || kind === "block";
  return {
    path,
    mode: goFileMode(kind, Number(stat.mode & 0o7777n)),
    uid: 0,
    gid: 0,
    size: kind === "file" ? Number(stat.size) : 0,
    modTime: stat.mtimeNs,
    linkname: kind === "symlink" ? readlinkSync(join(root, path)) : "",
    devmajor: isDevice ? (device >> 8) & 0xfff : 0,
    devminor: isDevice ? (device & 0xff) | ((device >> 12) & 0xfff00) : 0,
    xattrs: noXattrs,
  };
}

/** Whether the other side may ask for its content. */
export function hasContent(stat: Stat): boolean {
  return kindOfMode(stat.mode) === "file" && stat.linkname === "";
}
