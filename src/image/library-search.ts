// Where a dynamic linker looks for a library: ld.so(8), ldconfig(8).
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { readElf, type ElfFile } from "./elf.ts";

const cachePath = "/etc/ld.so.cache";
const configurationPath = "/etc/ld.so.conf";
const cacheMagic = "glibc-ld.so.cache1.1";
const cacheHeaderBytes = 48;
const cacheEntryBytes = 24;
const maxIncludeDepth = 8;
const directoriesByMachine: Record<number, readonly string[]> = {
  3: ["i386-linux-gnu"],
  40: ["arm-linux-gnueabihf"],
  62: ["x86_64-linux-gnu"],
  183: ["aarch64-linux-gnu"],
};

export interface LibraryUser {
  readonly elf: ElfFile;
  /** The file's real path: `$ORIGIN` is its directory. */
  readonly path: string;
  /** DT_RPATH of those that loaded it, resolved: it is inherited, DT_RUNPATH is not. */
  readonly inheritedPaths: readonly string[];
}

export interface FoundLibrary {
  readonly path: string;
  /** Whether a linker without configuration finds it too: an image then needs no cache. */
  readonly byDefault: boolean;
}

/** Looks libraries up as ld.so would, by reading files only. Reads the cache once. */
export class LibrarySearch {
  #cache: Map<string, string[]> | undefined;

  /** The file that satisfies a DT_NEEDED entry; undefined when there is none. */
  find(name: string, user: LibraryUser): FoundLibrary | undefined {
    if (name.includes("/")) return this.#accept(resolve("/", name), user) ? { path: name, byDefault: true } : undefined;
    const own = [...ownPaths(user), ...user.elf.runpath.map((path) => substitute(path, user))];
    const inOwn = own.map((directory) => join(directory, name)).find((path) => this.#accept(path, user));
    if (inOwn !== undefined) return { path: inOwn, byDefault: true };
    const standard = defaultDirectories(user.elf);
    const cached = (this.#libraries().get(name) ?? []).find((path) => this.#accept(path, user));
    if (cached !== undefined) return { path: cached, byDefault: standard.includes(dirname(cached)) };
    const found = standard.map((directory) => join(directory, name)).find((path) => this.#accept(path, user));
    return found === undefined ? undefined : { path: found, byDefault: true };
  }

  /** ld.so passes over files of another class or machine. */
  #accept(path: string, { elf }: LibraryUser): boolean {
    if (!existsSync(path)) return false;
    const candidate = readElf(path);
    return candidate?.bits === elf.bits && candidate.machine === elf.machine;
  }

  #libraries(): Map<string, string[]> {
    this.#cache ??= readCache() ?? readConfiguredDirectories();
    return this.#cache;
  }
}

/** DT_RPATH counts only where there is no DT_RUNPATH. Resolved, with the inherited ones after. */
export function ownPaths(user: LibraryUser): string[] {
  if (user.elf.runpath.length > 0) return [];
  return [...user.elf.rpath.map((path) => substitute(path, user)), ...user.inheritedPaths];
}

function substitute(path: string, user: LibraryUser): string {
  const platform = { 3: "i686", 40: "v7l", 62: "x86_64", 183: "aarch64" }[user.elf.machine] ?? "";
  return path
    .replace(/\$(ORIGIN\b|\{ORIGIN\})/g, dirname(user.path))
    .replace(/\$(LIB\b|\{LIB\})/g, user.elf.bits === 64 ? "lib64" : "lib")
    .replace(/\$(PLATFORM\b|\{PLATFORM\})/g, platform);
}

/** What the linkers of the distributions look through without a cache; musl's has no cache at all. */
function defaultDirectories(elf: ElfFile): string[] {
  const multiarch = directoriesByMachine[elf.machine] ?? [];
  const names = [...multiarch.map((name) => `lib/${name}`), ...(elf.bits === 64 ? ["lib64"] : []), "lib"];
  return names.flatMap((name) => [`/${name}`, `/usr/${name}`]);
}

/** /etc/ld.so.cache: name → paths, best first. Undefined when there is none of the known format. */
function readCache(): Map<string, string[]> | undefined {
  if (!existsSync(cachePath)) return undefined;
  const bytes = readFileSync(cachePath);
  // Old caches begin with the table of an older format, which the current one follows.
  const start = bytes.indexOf(cacheMagic);
  if (start === -1 || start + cacheHeaderBytes > bytes.length) return undefined;
  const count = bytes.readUInt32LE(start + 20);
  if (start + cacheHeaderBytes + count * cacheEntryBytes > bytes.length) return undefined;
  const text = (offset: number): string => {
    const from = Math.min(start + offset, bytes.length);
    const end = bytes.indexOf(0, from);
    return bytes.toString("utf8", from, end === -1 ? bytes.length : end);
  };
  const libraries = new Map<string, string[]>();
  for (let index = 0; index < count; index++) {
    const at = start + cacheHeaderBytes + index * cacheEntryBytes;
    // Builds for certain processors only (glibc-hwcaps) would not run everywhere that the image may go.
    if (bytes.readBigUInt64LE(at + 16) !== 0n) continue;
    const name = text(bytes.readUInt32LE(at + 4));
    libraries.set(name, [...(libraries.get(name) ?? []), text(bytes.readUInt32LE(at + 8))]);
  }
  return libraries;
}

/** Without a cache: the directories of /etc/ld.so.conf, which are then looked through for each file. */
function readConfiguredDirectories(): Map<string, string[]> {
  const libraries = new Map<string, string[]>();
  for (const directory of configuredDirectories(configurationPath, 0)) {
    for (const path of globSync(join(directory, "*.so*"))) {
      const name = path.slice(directory.length).replace(/^\/+/, "");
      libraries.set(name, [...(libraries.get(name) ?? []), path]);
    }
  }
  return libraries;
}

function configuredDirectories(path: string, depth: number): string[] {
  if (depth > maxIncludeDepth || !existsSync(path)) return [];
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim());
  return lines.flatMap((line) => {
    const included = /^include\s+(.+)$/.exec(line)?.[1];
    if (included === undefined) return line.startsWith("/") ? [line] : [];
    return globSync(resolve(dirname(path), included))
      .toSorted()
      .flatMap((file) => configuredDirectories(file, depth + 1));
  });
}
