import { readSync } from "node:fs";
import { breathe, walkTree, type TreeNode } from "../archive/index.ts";
import {
  closeFd,
  compareNames,
  openDirectory,
  openFlags,
  readDirectory,
  statFd,
  tryOpenInRoot,
} from "../kernel/index.ts";

/** What a scan reads at the most: an image is written by others. */
export const sbomLimits = {
  /** Of a package database that is text, and of a package's own description. */
  textBytes: 64 * 1024 ** 2,
  /** Of an rpm database. */
  databaseBytes: 512 * 1024 ** 2,
  /** Files and folders looked at. */
  entries: 2_000_000,
  packages: 100_000,
  /** Of what could not be read. */
  notes: 200,
  /** Of any one value that goes into the document. */
  fieldCharacters: 1024,
} as const;

const entriesPerBreath = 512;
/** What a running machine shows there is not the image's. */
const foreign = new Set(["proc", "sys", "dev"]);

/** Something that should have been read, and why it was not. */
export interface Unread {
  readonly path: string;
  readonly reason: string;
}

/**
 * A root directory as a scan sees it: every path is looked up as in a chroot, only ordinary files are read, each up to a limit.
 * What cannot be read is noted instead of thrown: a document that says so is worth more than none.
 */
export class SbomRoot implements Disposable {
  readonly unread: Unread[] = [];
  readonly #rootFd: number;

  constructor(root: string) {
    this.#rootFd = openDirectory(root);
  }

  [Symbol.dispose](): void {
    closeFd(this.#rootFd);
  }

  /** A file's bytes; undefined when there is no such file, or when it is noted as unread. */
  bytes(path: string, maxBytes: number = sbomLimits.textBytes): Buffer | undefined {
    const fd = tryOpenInRoot(this.#rootFd, path, { flags: openFlags.readOnly | openFlags.nonBlock });
    if (fd < 0) return undefined;
    try {
      const { type, size } = statFd(fd);
      if (type !== "file") return this.#note(path, `it is a ${type}, not a file`);
      if (size > maxBytes) return this.#note(path, `it is larger than ${maxBytes} bytes`);
      const buffer = Buffer.alloc(size);
      let length = 0;
      for (let count = -1; count !== 0 && length < size; length += count)
        count = readSync(fd, buffer, length, size - length, length);
      return buffer.subarray(0, length);
    } catch (error) {
      return this.#note(path, error instanceof Error ? error.message : String(error));
    } finally {
      closeFd(fd);
    }
  }

  text(path: string): string | undefined {
    return this.bytes(path)?.toString("utf8");
  }

  /** An object of a JSON file; anything else is noted. */
  object(path: string): Readonly<Record<string, unknown>> | undefined {
    const text = this.text(path);
    if (text === undefined) return undefined;
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    } catch {
      // Said below.
    }
    return this.#note(path, "it is no JSON object");
  }

  exists(path: string): boolean {
    const fd = tryOpenInRoot(this.#rootFd, path, { flags: openFlags.path });
    if (fd >= 0) closeFd(fd);
    return fd >= 0;
  }

  /** Names in a folder, in order; none where there is no such folder. */
  names(path: string): string[] {
    const fd = tryOpenInRoot(this.#rootFd, path, { flags: openFlags.directory });
    if (fd < 0) return [];
    try {
      return readDirectory(fd).sort(compareNames);
    } finally {
      closeFd(fd);
    }
  }

  note(path: string, reason: string): void {
    if (this.unread.length < sbomLimits.notes) this.unread.push({ path, reason });
  }

  /** Every file and folder, no symlink followed, in a fixed order, up to the limit; the loop gets its turn in between. */
  async *walk(signal?: AbortSignal): AsyncGenerator<TreeNode> {
    let count = 0;
    for (const node of walkTree(this.#rootFd, "", { skip: (path) => foreign.has(path), xattrs: false })) {
      if (++count > sbomLimits.entries) return this.note("", `there are more than ${sbomLimits.entries} files`);
      yield node;
      if (count % entriesPerBreath !== 0) continue;
      await breathe();
      signal?.throwIfAborted();
    }
  }

  #note(path: string, reason: string): undefined {
    this.note(path, reason);
    return undefined;
  }
}
