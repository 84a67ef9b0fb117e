// Linux file names are bytes. A name that is not UTF-8 keeps its bytes as U+DC80…U+DCFF, one a byte (Python's
// "surrogateescape", PEP 383), so that every name survives the way through JavaScript strings and back.
import { EngineError } from "../common/index.ts";

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The string of a file name's bytes. `pathToBytes` gives the same bytes back. */
export function bytesToPath(bytes: Uint8Array): string {
  let ascii = true;
  for (let index = 0; index < bytes.length; index++) {
    if ((bytes[index] ?? 0) >= 0x80) {
      ascii = false;
      break;
    }
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (ascii) return buffer.toString("latin1", 0, bytes.length);
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return escapeInvalid(buffer);
  }
}

function escapeInvalid(bytes: Buffer): string {
  let text = "";
  for (let index = 0; index < bytes.length;) {
    const length = sequenceLength(bytes, index);
    if (length === 0) text += String.fromCharCode(0xdc00 + (bytes[index] ?? 0));
    else text += bytes.toString("utf8", index, index + length);
    index += length || 1;
  }
  return text;
}

/** Bytes of the well-formed UTF-8 sequence at `index`, 0 when there is none. */
function sequenceLength(bytes: Buffer, index: number): number {
  const first = bytes[index] ?? 0;
  if (first < 0x80) return 1;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (index + length > bytes.length) return 0;
  try {
    strictDecoder.decode(bytes.subarray(index, index + length));
    return length;
  } catch {
    return 0;
  }
}

/** The bytes of a name or path, without a final NUL. A NUL inside is refused: it would cut the path short. */
export function pathToBytes(path: string): Uint8Array {
  if (path.includes("\0")) throw new EngineError("invalidArgument", `${JSON.stringify(path)} holds a NUL byte`);
  if (path.isWellFormed()) return Buffer.from(path, "utf8");
  const parts: Uint8Array[] = [];
  for (const character of path) {
    const code = character.codePointAt(0) ?? 0;
    const escaped = code >= 0xdc80 && code <= 0xdcff;
    parts.push(escaped ? Uint8Array.of(code - 0xdc00) : Buffer.from(character, "utf8"));
  }
  return Buffer.concat(parts);
}

/** Order of names by their bytes, as `LC_ALL=C sort`: independent of locale and of UTF-16. */
export function compareNames(a: string, b: string): number {
  if (a === b) return 0;
  for (let index = 0; index < a.length && index < b.length; index++) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left === right) continue;
    if (left < 0x80 || right < 0x80) return left - right;
    return Buffer.compare(pathToBytes(a), pathToBytes(b));
  }
  return a.length - b.length;
}
