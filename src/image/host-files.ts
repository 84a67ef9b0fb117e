import { lstatSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../common/index.ts";

/** One file of the image to be. Times are whole seconds. */
export interface HostFile {
  readonly kind: "directory" | "symlink" | "file";
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Undefined: the newest of all files, so that the same programs always give the same layer. */
  readonly mtimeSeconds: number | undefined;
  readonly content: { readonly copyOf: string } | { readonly text: string } | { readonly linkTo: string } | undefined;
}

const maxFiles = 20_000;
const maxSymlinks = 40;
const maxTotalBytes = 8 * 1024 ** 3;

/**
 * The files an image takes from the host: by their path there, without links in it (`usr/bin/bash`). Every directory and link
 * on the way to a file is kept, so that `/bin -> usr/bin` and `awk -> /etc/alternatives/awk` work as they do on the host.
 */
export class HostFiles {
  readonly #files = new Map<string, HostFile>();
  #totalBytes = 0;

  /** In order of path: a directory comes before what is in it. */
  entries(): [string, HostFile][] {
    return [...this.#files].toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  }

  has(path: string): boolean {
    return this.#files.has(path.replace(/^\//, ""));
  }

  /** Seconds; of regular files from the host only, since directories change with files that are not taken. */
  newestSeconds(): number {
    return Math.max(0, ...[...this.#files.values()].map((file) => file.mtimeSeconds ?? 0));
  }

  /** Adds what is at an absolute path with all that leads there; returns the path without links. Throws notFound. */
  add(path: string): string {
    let pending = split(path);
    let current = "";
    let symlinks = 0;
    while (pending.length > 0) {
      const [name = "", ...rest] = pending;
      pending = rest;
      if (name === "..") {
        current = current.slice(0, Math.max(0, current.lastIndexOf("/")));
        continue;
      }
      const next = `${current}/${name}`;
      const target = this.#take(next, path);
      if (target === undefined) {
        current = next;
        continue;
      }
      if (++symlinks > maxSymlinks) throw new EngineError("invalidArgument", `"${path}" leads through too many links`);
      pending = [...split(target), ...pending];
      if (target.startsWith("/")) current = "";
    }
    return current;
  }

  /** Puts a file of the host at another path of the image, as root's and with this mode. */
  addAs(path: string, { copyOf, mode }: { copyOf: string; mode: number }): void {
    const stats = lstatSync(copyOf);
    this.#put(path, {
      kind: "file",
      mode,
      uid: 0,
      gid: 0,
      mtimeSeconds: Math.floor(stats.mtimeMs / 1000),
      content: { copyOf },
    });
    this.#count(stats.size);
  }

  /** A directory that the image needs; as the host has it, if it does and no mode is given. */
  addDirectory(path: string, mode?: number): void {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (mode === undefined && stats?.isDirectory()) this.add(path);
    else this.#put(path, { ...rootOwned("directory", mode ?? 0o755), content: undefined });
  }

  addText(path: string, text: string): void {
    this.#put(path, { ...rootOwned("file", 0o644), content: { text } });
  }

  addLink(path: string, linkTo: string): void {
    if (!this.has(path)) this.#put(path, { ...rootOwned("symlink", 0o777), content: { linkTo } });
  }

  /** Records one path of the host; returns where it leads if it is a link. */
  #take(path: string, wanted: string): string | undefined {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (!stats) throw new EngineError("notFound", `"${wanted}" does not exist on the host: "${path}" is missing`);
    const shared = { mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid };
    const mtimeSeconds = Math.floor(stats.mtimeMs / 1000);
    if (stats.isDirectory()) {
      this.#put(path, { ...shared, kind: "directory", mtimeSeconds: undefined, content: undefined });
      return undefined;
    }
    if (stats.isSymbolicLink()) {
      const linkTo = readlinkSync(path);
      this.#put(path, { ...shared, kind: "symlink", mtimeSeconds, content: { linkTo } });
      return linkTo;
    }
    if (!stats.isFile()) {
      throw new EngineError("invalidArgument", `"${path}" is neither a file nor a directory nor a link`);
    }
    if (!this.has(path)) this.#count(stats.size);
    this.#put(path, { ...shared, kind: "file", mtimeSeconds, content: { copyOf: path } });
    return undefined;
  }

  #put(path: string, file: HostFile): void {
    const parent = join(path, "..");
    if (parent !== "/" && !this.has(parent)) this.addDirectory(parent);
    const key = path.replace(/^\//, "");
    if (!this.#files.has(key) && this.#files.size >= maxFiles) {
      throw new EngineError("resourceExhausted", `An image from the host takes at most ${maxFiles} files`);
    }
    this.#files.set(key, file);
  }

  #count(sizeBytes: number): void {
    this.#totalBytes += sizeBytes;
    if (this.#totalBytes > maxTotalBytes) {
      throw new EngineError("resourceExhausted", `An image from the host takes at most ${maxTotalBytes} bytes`);
    }
  }
}

function rootOwned<Kind extends HostFile["kind"]>(
  kind: Kind,
  mode: number,
): Omit<HostFile, "content"> & { kind: Kind } {
  return { kind, mode, uid: 0, gid: 0, mtimeSeconds: undefined };
}

function split(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}
