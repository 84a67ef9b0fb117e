import { readFileSync, statSync, writeSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import { check, closeDescriptor, cstring, libc, ptr } from "../kernel/index.ts";

const closeOnExec = 0x1;
const allowSealing = 0x2;
const executable = 0x10;
const addSeals = 1033;
/** Neither content, size nor the seals can change any more (fcntl(2)). */
const allSeals = 0x1 | 0x2 | 0x4 | 0x8;

interface Image {
  readonly descriptor: number;
  readonly stamp: string;
}

const images = new Map<string, Image>();

/**
 * The helper as a sealed copy in memory (memfd_create(2)); a descriptor that stays open and that is the engine's. What runs inside of a
 * container for a moment must not be a file of the host's that the container could open again and write to (CVE-2019-5736).
 */
export function sealedHelper(path: string): number {
  const about = statSync(path, { throwIfNoEntry: false });
  if (!about) throw new EngineError("unavailable", `The helper "${path}" is missing: run npm ci, or pass its path`);
  const stamp = `${about.mtimeMs} ${about.size} ${about.ino}`;
  const known = images.get(path);
  if (known?.stamp === stamp) return known.descriptor;
  const descriptor = makeSealedCopy(readFileSync(path));
  // An exec that is under way may still hold the number of the one before, so that one stays open.
  images.set(path, { descriptor, stamp });
  return descriptor;
}

function makeSealedCopy(bytes: Uint8Array): number {
  const name = cstring("vitrine-helper");
  // Kernels before 6.3 do not know the flag, and make every memfd executable.
  let descriptor = libc.memfd_create(ptr(name), closeOnExec | allowSealing | executable);
  if (descriptor < 0) {
    descriptor = check("memfd_create", libc.memfd_create(ptr(name), closeOnExec | allowSealing), () => {
      return "Cannot make a file in memory for the helper";
    });
  }
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at);
    check("fcntl", libc.fcntl(descriptor, addSeals, allSeals), () => "Cannot seal the helper's copy");
  } catch (error) {
    closeDescriptor(descriptor);
    throw error;
  }
  return descriptor;
}

/** An unsealed file in memory that holds `bytes`, to be read from its start; close it yourself. */
export function memoryFile(name: string, bytes: Uint8Array): number {
  const descriptor = check("memfd_create", libc.memfd_create(ptr(cstring(name)), closeOnExec), () => {
    return `Cannot make a file in memory for the ${name}`;
  });
  for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at, bytes.length - at, at);
  return descriptor;
}
