import { closeSync, openSync, writeSync } from "node:fs";

/** An entry's kind and permissions, inode(7) st_mode. */
const kinds = { directory: 0o040755, file: 0o100644, program: 0o100755, symlink: 0o120777 } as const;

/**
 * Writes an archive in cpio's `newc` format, which the kernel unpacks as its first root file system
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Parents of an entry are written as directories, each path once.
 */
export class CpioWriter implements Disposable {
  private readonly descriptor: number;
  private readonly paths = new Set<string>();
  private inode = 0;
  private isEnded = false;

  constructor(file: string) {
    this.descriptor = openSync(file, "w");
  }

  has(path: string): boolean {
    return this.paths.has(path);
  }

  directory(path: string): void {
    this.entry(path, kinds.directory, new Uint8Array());
  }

  file(path: string, content: Uint8Array | string, options: { executable: boolean } = { executable: false }): void {
    this.entry(path, options.executable ? kinds.program : kinds.file, Buffer.from(content));
  }

  symlink(path: string, target: string): void {
    this.entry(path, kinds.symlink, Buffer.from(target));
  }

  end(): void {
    this.write("TRAILER!!!", 0, new Uint8Array());
    this.isEnded = true;
  }

  [Symbol.dispose](): void {
    if (!this.isEnded) this.end();
    closeSync(this.descriptor);
  }

  /** `path` is absolute; the archive holds it without its first slash. */
  private entry(path: string, mode: number, content: Uint8Array): void {
    if (this.paths.has(path)) return;
    const parent = path.slice(0, path.lastIndexOf("/"));
    if (parent !== "") this.directory(parent);
    this.paths.add(path);
    this.write(path.slice(1), mode, content);
  }

  private write(name: string, mode: number, content: Uint8Array): void {
    const nameBytes = Buffer.from(`${name}\0`);
    const links = (mode & 0o170000) === 0o040000 ? 2 : 1;
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    const fields = [++this.inode, mode, 0, 0, links, 0, content.byteLength, 0, 0, 0, 0, nameBytes.byteLength, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
    this.padded(Buffer.concat([Buffer.from(header), nameBytes]));
    this.padded(content);
  }

  private padded(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.byteLength;) offset += writeSync(this.descriptor, bytes, offset);
    const rest = bytes.byteLength % 4;
    if (rest !== 0) writeSync(this.descriptor, new Uint8Array(4 - rest));
  }
}
