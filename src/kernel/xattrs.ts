// Extended attributes as bytes: a file capability is a C struct and no text. xattr(7).
import { errnoNumber } from "./errno.ts";
import { SystemError, cstring, errno, libc } from "./libc.ts";
import { bytesToPath, pathToBytes } from "./path-bytes.ts";

const namesBuffer = Buffer.alloc(64 * 1024);
const valueBuffer = Buffer.alloc(64 * 1024);

/** A descriptor (not O_PATH), or a path whose last part is not followed. */
export type XattrTarget = number | string;

const none: ReadonlyMap<string, Uint8Array> = new Map();
const absent = new Set(["ENODATA", "ENOTSUP"].map(errnoNumber));

/** Names and values of all attributes the caller may see; empty where the file system has none. */
export function readXattrs(target: XattrTarget): ReadonlyMap<string, Uint8Array> {
  const length = Number(
    typeof target === "number"
      ? libc.flistxattr(target, namesBuffer, namesBuffer.length)
      : libc.llistxattr(zeroEnded(target), namesBuffer, namesBuffer.length),
  );
  if (length === 0) return none;
  if (length < 0) {
    const number = errno();
    if (absent.has(number)) return none;
    throw new SystemError("listxattr", number, `Cannot list the attributes of ${shown(target)}`);
  }
  const result = new Map<string, Uint8Array>();
  let start = 0;
  const names = Buffer.from(namesBuffer.subarray(0, length));
  for (let end = names.indexOf(0); end >= 0; end = names.indexOf(0, start)) {
    const name = bytesToPath(names.subarray(start, end));
    const value = readXattr(target, name);
    if (value) result.set(name, value);
    start = end + 1;
  }
  return result;
}

/** One attribute's bytes; undefined when it is not set. */
export function readXattr(target: XattrTarget, name: string): Uint8Array | undefined {
  const length = Number(
    typeof target === "number"
      ? libc.fgetxattr(target, zeroEnded(name), valueBuffer, valueBuffer.length)
      : libc.lgetxattr(zeroEnded(target), zeroEnded(name), valueBuffer, valueBuffer.length),
  );
  if (length >= 0) return new Uint8Array(valueBuffer.subarray(0, length));
  const number = errno();
  if (absent.has(number)) return undefined;
  throw new SystemError("getxattr", number, `Cannot read attribute ${name} of ${shown(target)}`);
}

/** Sets one attribute. Returns 0 or `errno`: whether ENOTSUP matters is the caller's to say. */
export function trySetXattr(target: XattrTarget, name: string, value: Uint8Array): number {
  // An empty array has no address to pass.
  const data = value.length === 0 ? valueBuffer : value;
  const result =
    typeof target === "number"
      ? libc.fsetxattr(target, zeroEnded(name), data, value.length, 0)
      : libc.lsetxattr(zeroEnded(target), zeroEnded(name), data, value.length, 0);
  return result === 0 ? 0 : errno();
}

/** Sets one attribute; throws `SystemError` on refusal. */
export function setXattr(target: XattrTarget, name: string, value: Uint8Array): void {
  const number = trySetXattr(target, name, value);
  if (number !== 0) throw new SystemError("setxattr", number, `Cannot set attribute ${name} of ${shown(target)}`);
}

function zeroEnded(text: string): Uint8Array {
  return text.isWellFormed() ? cstring(text) : Buffer.concat([pathToBytes(text), Uint8Array.of(0)]);
}

function shown(target: XattrTarget): string {
  return typeof target === "number" ? `descriptor ${target}` : `"${target}"`;
}
