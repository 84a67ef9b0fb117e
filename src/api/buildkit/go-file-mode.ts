// Modes of files as Go's os.FileMode has them, which is what BuildKit's file protocol sends.
const directoryBit = 2 ** 31;
const symlinkBit = 2 ** 27;
const deviceBit = 2 ** 26;
const fifoBit = 2 ** 25;
const socketBit = 2 ** 24;
const setuidBit = 2 ** 23;
const setgidBit = 2 ** 22;
const characterBit = 2 ** 21;
const stickyBit = 2 ** 20;

export type FileKind = "file" | "directory" | "symlink" | "character" | "block" | "fifo" | "socket";

/** Bit tests by division: the directory's bit is the sign of JavaScript's 32-bit operators. */
function has(mode: number, bit: number): boolean {
  return Math.floor(mode / bit) % 2 === 1;
}

export function kindOfMode(mode: number): FileKind {
  if (has(mode, directoryBit)) return "directory";
  if (has(mode, symlinkBit)) return "symlink";
  if (has(mode, fifoBit)) return "fifo";
  if (has(mode, socketBit)) return "socket";
  if (has(mode, deviceBit)) return has(mode, characterBit) ? "character" : "block";
  return "file";
}

/** The twelve permission bits as chmod(2) has them. */
export function permissionsOfMode(mode: number): number {
  return (
    (mode % 0o1000) +
    (has(mode, setuidBit) ? 0o4000 : 0) +
    (has(mode, setgidBit) ? 0o2000 : 0) +
    (has(mode, stickyBit) ? 0o1000 : 0)
  );
}

const kindBits: Readonly<Record<FileKind, number>> = {
  file: 0,
  directory: directoryBit,
  symlink: symlinkBit,
  character: deviceBit + characterBit,
  block: deviceBit,
  fifo: fifoBit,
  socket: socketBit,
};

export function goFileMode(kind: FileKind, permissions: number): number {
  return (
    kindBits[kind] +
    (permissions & 0o777) +
    (permissions & 0o4000 ? setuidBit : 0) +
    (permissions & 0o2000 ? setgidBit : 0) +
    (permissions & 0o1000 ? stickyBit : 0)
  );
}
