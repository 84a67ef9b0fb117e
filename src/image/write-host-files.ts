import {
  chmodSync,
  constants,
  lchownSync,
  lutimesSync,
  mkdirSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { readXattr, setXattr } from "../kernel/index.ts";
import type { HostFile, HostFiles } from "./host-files.ts";

/** Programs such as ping have their privilege here instead of a set-user-id bit. */
const capabilityAttribute = "security.capability";

/**
 * Writes the files below an empty directory. Regular files are reflinks where the file system can, else copied by the kernel.
 * The directory itself becomes the image's `/`.
 */
export async function writeHostFiles(files: HostFiles, directory: string): Promise<void> {
  const entries = files.entries();
  const newest = files.newestSeconds();
  for (const [path, file] of entries) {
    const target = join(directory, path);
    await writeOne(target, file);
    lchownSync(target, file.uid, file.gid);
    // After chown, which clears set-user-id bits and capabilities; a link has no mode of its own.
    if (file.kind !== "symlink") chmodSync(target, file.mode);
    if (file.content && "copyOf" in file.content) copyCapabilities(file.content.copyOf, target);
    lutimesSync(target, file.mtimeSeconds ?? newest, file.mtimeSeconds ?? newest);
  }
  // Again, since writing into a directory changed its time.
  const directories = entries.filter(([, file]) => file.kind === "directory").toReversed();
  for (const [path] of directories) utimesSync(join(directory, path), newest, newest);
  chmodSync(directory, 0o755);
  utimesSync(directory, newest, newest);
}

async function writeOne(target: string, { kind, content }: HostFile): Promise<void> {
  if (kind === "directory") {
    mkdirSync(target);
  } else if (content && "linkTo" in content) {
    symlinkSync(content.linkTo, target);
  } else if (content && "text" in content) {
    writeFileSync(target, content.text, { flag: "wx" });
  } else if (content) {
    await copyFile(content.copyOf, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  }
}

function copyCapabilities(from: string, to: string): void {
  const value = readXattr(from, capabilityAttribute);
  if (value) setXattr(to, capabilityAttribute, value);
}
