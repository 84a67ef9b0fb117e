import { closeSync, lstatSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { EngineError } from "../common/index.ts";
import { readElf, type ElfFile } from "./elf.ts";
import type { HostFiles } from "./host-files.ts";
import { LibrarySearch, ownPaths, type LibraryUser } from "./library-search.ts";

/** The PATH of images made from the host, in order of search there. */
export const imagePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** What glibc opens by itself: for names of users and hosts before 2.34, and when a thread ends. */
const unnamedLibraries = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2", "libgcc_s.so.1"];
const maxScriptDepth = 4;
const maxScriptLine = 256;

/** Adds programs of the host with the libraries and interpreters they need. No program is run; their headers are read. */
export class HostPrograms {
  readonly #files: HostFiles;
  readonly #search = new LibrarySearch();
  /** Real paths already followed. */
  readonly #done = new Set<string>();
  /** Whether a library lies where a linker without configuration would not look. */
  needsLinkerCache = false;

  constructor(files: HostFiles) {
    this.#files = files;
  }

  /** By name, looked up in PATH, or by absolute path. Throws notFound with the name. */
  add(program: string): void {
    const path = findProgram(program);
    if (path === undefined) {
      throw new EngineError("notFound", `The program "${program}" is not on this host: ${whereLooked(program)}`);
    }
    const real = this.#files.add(path);
    this.addNeeds(real);
    // Found by a PATH of the host's that the image does not have.
    if (!program.includes("/") && !imagePath.split(":").includes(dirname(path))) {
      this.#files.addLink(`/usr/local/bin/${basename(program)}`, real);
    }
  }

  /** Adds what a file needs, and not the file. */
  addNeeds(path: string): void {
    this.#follow(path, { inheritedPaths: [], scriptDepth: 0 });
  }

  #follow(path: string, chain: { inheritedPaths: readonly string[]; scriptDepth: number }): void {
    const real = realpathSync(path);
    if (this.#done.has(real)) return;
    this.#done.add(real);
    const elf = readElf(real);
    if (!elf) {
      this.#followScript(real, chain.scriptDepth);
      return;
    }
    if (elf.interpreter !== undefined) {
      this.#follow(this.#files.add(elf.interpreter), chain);
      this.#addUnnamed({ elf, path: real, inheritedPaths: [] });
    }
    const user = { elf, path: real, inheritedPaths: chain.inheritedPaths };
    for (const name of elf.needed) this.#addLibrary(name, user);
  }

  #addLibrary(name: string, user: LibraryUser): void {
    const found = this.#search.find(name, user);
    if (!found) {
      throw new EngineError("notFound", `The library "${name}", which "${user.path}" needs, is not on this host`);
    }
    if (!found.byDefault) this.needsLinkerCache = true;
    const real = this.#files.add(found.path);
    this.#follow(real, { inheritedPaths: ownPaths(user), scriptDepth: 0 });
  }

  #addUnnamed(user: LibraryUser & { elf: ElfFile }): void {
    if (!user.elf.needed.some((name) => name === "libc.so.6")) return;
    for (const name of unnamedLibraries) {
      if (this.#search.find(name, user)) this.#addLibrary(name, user);
    }
  }

  /** `#!interpreter argument`; what has no such line is data, which nothing need be known of. */
  #followScript(path: string, depth: number): void {
    const line = firstLine(path);
    const [, interpreter, argument] = /^#!\s*(\/\S+)(?:\s+(\S+))?/.exec(line) ?? [];
    if (interpreter === undefined) return;
    if (depth >= maxScriptDepth) {
      throw new EngineError("invalidArgument", `The script "${path}" is run by more than ${maxScriptDepth} scripts`);
    }
    this.#follow(this.#files.add(interpreter), { inheritedPaths: [], scriptDepth: depth + 1 });
    if (
      basename(interpreter) === "env" &&
      argument !== undefined &&
      /^[\w.+-]+$/.test(argument) &&
      !argument.startsWith("-")
    ) {
      this.add(argument);
    }
  }
}

/** The path of a program as a shell finds it; undefined when there is none. Links are not resolved. */
export function findProgram(program: string): string | undefined {
  if (program.includes("\0")) throw new EngineError("invalidArgument", "A program's name holds a NUL byte");
  if (program.startsWith("/")) return isExecutable(program) ? program : undefined;
  if (program.includes("/")) {
    throw new EngineError("invalidArgument", `The program "${program}" is neither a name nor an absolute path`);
  }
  const directories = [...imagePath.split(":"), ...(process.env["PATH"] ?? "").split(":")];
  return directories
    .filter((directory) => directory.startsWith("/"))
    .map((directory) => join(directory, program))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats !== undefined && stats.isFile() && (stats.mode & 0o111) !== 0;
}

function whereLooked(program: string): string {
  if (!program.startsWith("/")) return "no directory of PATH has it";
  return lstatSync(program, { throwIfNoEntry: false }) ? "it is not an executable file" : "there is no such file";
}

function firstLine(path: string): string {
  const descriptor = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(maxScriptLine);
    const length = readSync(descriptor, buffer, 0, maxScriptLine, 0);
    return buffer.toString("utf8", 0, length).split("\n")[0] ?? "";
  } finally {
    closeSync(descriptor);
  }
}
