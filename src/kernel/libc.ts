// The only place that opens libc. Every call here returns at once; one that can block belongs in a Worker or the helper.
import { dlopen, ptr, toArrayBuffer, type Pointer } from "bun:ffi";
import { EngineError } from "../common/index.ts";
import { errnoName, errnoText } from "./errno.ts";

const int = "i32" as const;
const pointer = "ptr" as const;
const size = "u64" as const;
const long = "i64" as const;

const { symbols: libc } = dlopen("libc.so.6", {
  __errno_location: { args: [], returns: pointer },
  syscall: { args: [long, long, long, long, long, long, long], returns: long },
  mount: { args: [pointer, pointer, pointer, size, pointer], returns: int },
  umount2: { args: [pointer, int], returns: int },
  open: { args: [pointer, int, int], returns: int },
  openat: { args: [int, pointer, int, int], returns: int },
  close: { args: [int], returns: int },
  mknodat: { args: [int, pointer, int, size], returns: int },
  linkat: { args: [int, pointer, int, pointer, int], returns: int },
  symlinkat: { args: [pointer, int, pointer], returns: int },
  mkdirat: { args: [int, pointer, int], returns: int },
  unlinkat: { args: [int, pointer, int], returns: int },
  renameat: { args: [int, pointer, int, pointer], returns: int },
  readlinkat: { args: [int, pointer, pointer, size], returns: long },
  fchownat: { args: [int, pointer, int, int, int], returns: int },
  fchmodat: { args: [int, pointer, int, int], returns: int },
  utimensat: { args: [int, pointer, pointer, int], returns: int },
  lgetxattr: { args: [pointer, pointer, pointer, size], returns: long },
  lsetxattr: { args: [pointer, pointer, pointer, size, int], returns: int },
  llistxattr: { args: [pointer, pointer, size], returns: long },
  fgetxattr: { args: [int, pointer, pointer, size], returns: long },
  fsetxattr: { args: [int, pointer, pointer, size, int], returns: int },
  flistxattr: { args: [int, pointer, size], returns: long },
  statx: { args: [int, pointer, int, "u32", pointer], returns: int },
  getdents64: { args: [int, pointer, size], returns: long },
  fchown: { args: [int, int, int], returns: int },
  fchmod: { args: [int, "u32"], returns: int },
  chmod: { args: [pointer, "u32"], returns: int },
  futimens: { args: [int, pointer], returns: int },
  ftruncate: { args: [int, long], returns: int },
  chdir: { args: [pointer], returns: int },
  fchdir: { args: [int], returns: int },
  statfs: { args: [pointer, pointer], returns: int },
  syncfs: { args: [int], returns: int },
  flock: { args: [int, int], returns: int },
  socket: { args: [int, int, int], returns: int },
  socketpair: { args: [int, int, int, pointer], returns: int },
  bind: { args: [int, pointer, "u32"], returns: int },
  connect: { args: [int, pointer, "u32"], returns: int },
  listen: { args: [int, int], returns: int },
  send: { args: [int, pointer, size, int], returns: long },
  recv: { args: [int, pointer, size, int], returns: long },
  sendmsg: { args: [int, pointer, int], returns: long },
  recvmsg: { args: [int, pointer, int], returns: long },
  setsockopt: { args: [int, int, int, pointer, "u32"], returns: int },
  getsockname: { args: [int, pointer, pointer], returns: int },
  memfd_create: { args: [pointer, "u32"], returns: int },
  fcntl: { args: [int, int, long], returns: int },
  ioctl: { args: [int, size, pointer], returns: int },
  kill: { args: [int, int], returns: int },
  getpid: { args: [], returns: int },
});

export { libc, ptr };

const errnoView = { address: 0, view: undefined as Int32Array | undefined };

/** errno of the call made just before, on this thread. Read it before anything else runs. */
export function errno(): number {
  const address = Number(libc.__errno_location());
  if (errnoView.address !== address || !errnoView.view) {
    errnoView.address = address;
    errnoView.view = new Int32Array(toArrayBuffer(address as Pointer, 0, 4));
  }
  return errnoView.view[0] ?? 0;
}

/** A NUL-terminated copy for a `char *` argument. A NUL inside would cut the path short, so it is refused. */
export function cstring(text: string): Uint8Array {
  if (text.includes("\0")) throw new EngineError("invalidArgument", `${JSON.stringify(text)} holds a NUL byte`);
  return Buffer.from(`${text}\0`, "utf8");
}

/** A kernel call's refusal. `data` holds `{syscall, errno, errnoName}`. */
export class SystemError extends EngineError {
  constructor(
    readonly syscall: string,
    readonly errno: number,
    what: string,
  ) {
    super(codeOf(errno), `${what}: ${errnoText(errno)}`, { data: { syscall, errno, errnoName: errnoName(errno) } });
    this.name = "SystemError";
  }
}

function codeOf(
  number: number,
): "notFound" | "alreadyExists" | "permissionDenied" | "resourceExhausted" | "conflict" | "internal" {
  switch (errnoName(number)) {
    case "ENOENT":
      return "notFound";
    case "EEXIST":
      return "alreadyExists";
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "permissionDenied";
    case "ENOSPC":
    case "EMFILE":
    case "ENFILE":
    case "ENOMEM":
    case "EDQUOT":
      return "resourceExhausted";
    case "EBUSY":
      return "conflict";
    default:
      return "internal";
  }
}

/**
 * Returns a call's result, or throws when it is -1: `check("mount", libc.mount(…), () => \`Cannot mount "${target}"\`)`.
 * `what` is called only on failure and is the sentence without its cause.
 */
export function check(syscall: string, result: number | bigint, what: () => string): number {
  const value = Number(result);
  if (value !== -1) return value;
  throw new SystemError(syscall, errno(), what());
}

/** A raw system call by number, for those that libc does not wrap. Pointers are passed as numbers from `ptr()`. */
export function syscall(number: number, ...parameters: (number | bigint)[]): number {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = parameters;
  return Number(libc.syscall(number, a, b, c, d, e, f));
}
