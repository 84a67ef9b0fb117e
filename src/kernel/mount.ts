// mount(2) and its relatives for the daemon's own use; a container's mounts are ops that the helper executes.
import { SystemError, check, cstring, errno, libc } from "./libc.ts";
import { errnoNumber } from "./errno.ts";
import type { Mount } from "../spec/index.ts";

/** mount(8)'s option words that are flags of mount(2); every other word is the file system's. */
export const mountFlags: Readonly<Record<string, number>> = {
  ro: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  sync: 16,
  remount: 32,
  mand: 64,
  dirsync: 128,
  nosymfollow: 256,
  noatime: 1024,
  nodiratime: 2048,
  bind: 4096,
  rbind: 4096 | 16384,
  silent: 32768,
  unbindable: 1 << 17,
  runbindable: (1 << 17) | 16384,
  private: 1 << 18,
  rprivate: (1 << 18) | 16384,
  slave: 1 << 19,
  rslave: (1 << 19) | 16384,
  shared: 1 << 20,
  rshared: (1 << 20) | 16384,
  relatime: 1 << 21,
  strictatime: 1 << 24,
  lazytime: 1 << 25,
};

/** Words that stand for the absence of a flag. */
const defaults = new Set(["rw", "defaults", "suid", "dev", "exec", "async", "atime", "diratime"]);

/** mount(2)'s data argument is one page; the kernel cuts what is longer. */
export const mountDataLimitBytes = 4095;

/** Splits option words into mount(2)'s flags and the file system's own data. */
export function splitMountOptions(options: readonly string[]): { flags: number; data: string } {
  let flags = 0;
  const data: string[] = [];
  for (const option of options) {
    const flag = mountFlags[option];
    if (flag !== undefined) flags |= flag;
    else if (!defaults.has(option)) data.push(option);
  }
  return { flags, data: data.join(",") };
}

/** Mounts. Relative paths in the options count from `workingDirectory`. Throws `SystemError`. */
export function mount(request: Mount): void {
  if (request.type.startsWith("fuse.")) return mountByProgram(request);
  const { flags, data } = splitMountOptions(request.options);
  if (Buffer.byteLength(data) > mountDataLimitBytes) {
    throw new SystemError("mount", errnoNumber("E2BIG"), `Cannot mount ${request.type} at "${request.target}"`);
  }
  const call = (): number =>
    libc.mount(cstring(request.source), cstring(request.target), cstring(request.type), flags >>> 0, cstring(data));
  const result = request.workingDirectory === undefined ? call() : inDirectory(request.workingDirectory, call);
  check("mount", result, () => `Cannot mount ${request.type} at "${request.target}"`);
}

/** A FUSE program says that it is mounted by leaving its work to a process behind it, which ends with the mount. */
function mountByProgram({ type, source, target, options, workingDirectory }: Mount): void {
  const run = Bun.spawnSync([source, "-o", options.join(","), target], {
    stdio: ["ignore", "ignore", "pipe"],
    ...(workingDirectory === undefined ? {} : { cwd: workingDirectory }),
    env: { ...process.env, LC_ALL: "C" },
  });
  if (run.exitCode === 0) return;
  const said = run.stderr.toString().trim().split("\n").at(-1);
  throw new SystemError(
    "mount",
    errnoNumber("EIO"),
    `Cannot mount ${type} at "${target}" (${said ?? "no word of why"})`,
  );
}

/** The working directory is the whole process's, so it is put back before anything else can run. */
function inDirectory(directory: string, call: () => number): number {
  const back = libc.open(cstring("."), 0o12000000, 0);
  if (back < 0) throw new SystemError("open", errno(), "Cannot open the working directory");
  try {
    check("chdir", libc.chdir(cstring(directory)), () => `Cannot go to "${directory}"`);
    return call();
  } finally {
    // errno of the call must survive this for `check`, and a close that succeeds leaves it alone.
    libc.fchdir(back);
    libc.close(back);
  }
}

/** umount2(2), never through a symlink at the end. `lazy` detaches a busy mount. */
export function unmount(target: string, options: { lazy?: boolean } = {}): void {
  const noFollow = 8;
  const detach = 2;
  const result = libc.umount2(cstring(target), noFollow | (options.lazy === true ? detach : 0));
  check("umount2", result, () => `Cannot unmount "${target}"`);
}

const names: Readonly<Record<string, string>> = {
  ef53: "ext4",
  "58465342": "xfs",
  "9123683e": "btrfs",
  "1021994": "tmpfs",
  "794c7630": "overlay",
  "2fc12fc1": "zfs",
  f2f52010: "f2fs",
  "6969": "nfs",
  "65735546": "fuse",
  "9fa0": "proc",
  "62656572": "sysfs",
  "27e0eb": "cgroup",
  "63677270": "cgroup2",
  "6e736673": "nsfs",
  "1cd1": "devpts",
  "858458f6": "ramfs",
};

/** The file system below `path`, by statfs(2)'s magic number; `type` is `unknown` for one that is not listed here. */
export function filesystemOf(path: string): { type: string; magic: number } {
  const buffer = Buffer.alloc(256);
  check("statfs", libc.statfs(cstring(path), buffer), () => `Cannot look at the file system of "${path}"`);
  const magic = Number(buffer.readBigUInt64LE(0) & 0xffffffffn);
  return { type: names[magic.toString(16)] ?? "unknown", magic };
}

/**
 * Writes the whole file system of `path` to its disk. syncfs(2) may take seconds on a busy disk, so coreutils' sync(1) does it
 * in a process of its own and the daemon's loop goes on; where sync(1) is missing the call is made here.
 */
export async function syncfs(path: string): Promise<void> {
  const child = startSync(path);
  if (!child) return syncfsHere(path);
  if ((await child.exited) === 0) return;
  const said = (await new Response(child.stderr).text()).trim();
  throw new SystemError("syncfs", errnoNumber("EIO"), `Cannot sync "${path}" (${said})`);
}

function startSync(path: string): Bun.Subprocess<"ignore", "ignore", "pipe"> | undefined {
  try {
    return Bun.spawn(["sync", "-f", path], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  } catch {
    return undefined;
  }
}

function syncfsHere(path: string): void {
  const fd = check("open", libc.open(cstring(path), 0o2000000, 0), () => `Cannot open "${path}"`);
  try {
    check("syncfs", libc.syncfs(fd), () => `Cannot sync "${path}"`);
  } finally {
    libc.close(fd);
  }
}
