import { closeSync, fstatSync, openSync, statSync } from "node:fs";

/** A file of a log, held open: while it is, its inode number is no other file's, whatever it is renamed to. */
export class LogFile implements Disposable {
  readonly inode: bigint;

  /** Takes the descriptor over. */
  constructor(readonly descriptor: number) {
    this.inode = BigInt.asUintN(64, fstatSync(descriptor, { bigint: true }).ino);
  }

  get sizeBytes(): number {
    return fstatSync(this.descriptor).size;
  }

  /** Whether it was rotated away: no name leads to it any more, and never will. */
  get isGone(): boolean {
    return fstatSync(this.descriptor).nlink === 0;
  }

  [Symbol.dispose](): void {
    closeSync(this.descriptor);
  }
}

/**
 * The names of a log's files: `log` of age 0, which is written to, then `log.1`, `log.2`, …. The monitor renames them while they are
 * read, the oldest first, so that a file only ever gets older, and one name is missing at a time.
 */
export class LogNames {
  constructor(private readonly path: string) {}

  open(age: number): LogFile | undefined {
    try {
      return new LogFile(openSync(this.#name(age), "r"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  inode(age: number): bigint | undefined {
    const about = statSync(this.#name(age), { throwIfNoEntry: false, bigint: true });
    return about && BigInt.asUintN(64, about.ino);
  }

  #name(age: number): string {
    return age === 0 ? this.path : `${this.path}.${age}`;
  }
}

/** A rotation can hide a file from one look, and hardly from so many. */
const maxLooks = 100;

/** All files of a log that are there, oldest first and without a gap; the caller disposes of them. No log: none. */
export function openLogFiles(names: LogNames): LogFile[] {
  const newest = openNewest(names);
  if (!newest) return [];
  const files = [newest];
  try {
    for (let file = neighbour(names, newest, "older"); file instanceof LogFile;) {
      files.unshift(file);
      file = neighbour(names, file, "older");
    }
    return files;
  } catch (error) {
    for (const file of files) file[Symbol.dispose]();
    throw error;
  }
}

/**
 * The files that follow one which is held: the next younger; none while it is the youngest; and when it was rotated away, all that are
 * left. The caller disposes of them.
 */
export function openFollowing(names: LogNames, file: LogFile): LogFile[] {
  const next = neighbour(names, file, "younger");
  if (next === "gone") return openLogFiles(names);
  return next ? [next] : [];
}

function openNewest(names: LogNames): LogFile | undefined {
  for (let look = 0; look < maxLooks; look++) {
    const file = names.open(0) ?? names.open(1);
    if (file) return file;
  }
  return undefined;
}

/**
 * Opens the file next to one that is held. Files only get older, and a rotation leaves one name out: so when the held one kept its name
 * while the other was opened, and the names between them stayed free, then nothing is between them.
 */
function neighbour(names: LogNames, file: LogFile, side: "older" | "younger"): LogFile | "gone" | undefined {
  for (;;) {
    const age = ageOf(names, file);
    if (age === undefined) return "gone";
    const ages = side === "older" ? [age + 1, age + 2] : Array.from({ length: age }, (_, index) => age - 1 - index);
    const free: number[] = [];
    let found: LogFile | undefined;
    for (const other of ages) {
      found = names.open(other);
      if (found) break;
      free.push(other);
    }
    if (free.every((other) => names.inode(other) === undefined) && names.inode(age) === file.inode) return found;
    found?.[Symbol.dispose]();
  }
}

/** Undefined when it was rotated away, or moved out of sight by hand. */
function ageOf(names: LogNames, file: LogFile): number | undefined {
  for (let look = 0; look < maxLooks && !file.isGone; look++) {
    for (let age = 0, missing = 0; missing < 2; age++) {
      const inode = names.inode(age);
      if (inode === file.inode) return age;
      missing = inode === undefined ? missing + 1 : 0;
    }
  }
  return undefined;
}
