import { check, libc, ptr } from "./libc.ts";

// The kernel's struct termios (asm-generic/termbits.h): four 32-bit flag words, the line discipline, 19 control characters.
const termiosBytes = 36;
const tcgets = 0x5401;
const tcsets = 0x5402;

const inputFlags = 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o1 | 0o2000; // IGNBRK…IXON of cfmakeraw(3)
const outputProcessing = 0o1;
const localFlags = 0o10 | 0o100 | 0o2 | 0o1 | 0o100000; // ECHO ECHONL ICANON ISIG IEXTEN
const characterSize = 0o60 | 0o400; // CSIZE PARENB
const eightBits = 0o60;
const minimumIndex = 17 + 6;
const timeIndex = 17 + 5;

/** Makes a terminal raw as cfmakeraw(3) does and gives what it was before, for `restoreTerminal`. Throws SystemError (ENOTTY). */
export function makeTerminalRaw(descriptor: number): Uint8Array {
  const before = new Uint8Array(termiosBytes);
  check(
    "ioctl TCGETS",
    libc.ioctl(descriptor, tcgets, ptr(before)),
    () => `Cannot read the terminal of descriptor ${descriptor}`,
  );
  const raw = before.slice();
  const words = new Uint32Array(raw.buffer, 0, 4);
  words[0] = (words[0] ?? 0) & ~inputFlags;
  words[1] = (words[1] ?? 0) & ~outputProcessing;
  words[2] = ((words[2] ?? 0) & ~characterSize) | eightBits;
  words[3] = (words[3] ?? 0) & ~localFlags;
  raw[minimumIndex] = 1;
  raw[timeIndex] = 0;
  check(
    "ioctl TCSETS",
    libc.ioctl(descriptor, tcsets, ptr(raw)),
    () => `Cannot make the terminal of descriptor ${descriptor} raw`,
  );
  return before;
}

/** Sets a terminal back; one that is gone is no failure. */
export function restoreTerminal(descriptor: number, before: Uint8Array): void {
  libc.ioctl(descriptor, tcsets, ptr(before));
}
