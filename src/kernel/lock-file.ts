import { check, cstring, errno, libc } from "./libc.ts";
import { errnoName } from "./errno.ts";

const O_RDWR_CREAT_CLOEXEC = 0o2 | 0o100 | 0o2000000;
const LOCK_EX_NB = 2 | 4;

/** Takes an exclusive flock(2) that lasts as long as this process; false when another process has it. */
export function lockFile(path: string): boolean {
  return holdLock(path) !== undefined;
}

/** As `lockFile`, until it is disposed; undefined when somebody else has it, this process included. */
export function holdLock(path: string): Disposable | undefined {
  const descriptor = check(
    "open",
    libc.open(cstring(path), O_RDWR_CREAT_CLOEXEC, 0o600),
    () => `Cannot open "${path}"`,
  );
  if (libc.flock(descriptor, LOCK_EX_NB) === 0) return { [Symbol.dispose]: () => void libc.close(descriptor) };
  const taken = errnoName(errno()) === "EAGAIN";
  libc.close(descriptor);
  // A file system without locks (ENOLCK, ENOTSUP) cannot tell: then nobody is kept out.
  return taken ? undefined : { [Symbol.dispose]: () => {} };
}
