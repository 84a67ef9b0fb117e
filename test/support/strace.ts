import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { newScratch, type Scratch } from "./scratch.ts";
import { waitFor } from "./test-engine.ts";

/** What changes what a process sees, is, or may do, and what starts another. */
const privileged = `mount umount2 pivot_root chroot move_mount open_tree mount_setattr fsopen fsconfig fsmount fspick
  clone clone3 fork vfork unshare setns execve execveat
  sethostname setdomainname mknod mknodat symlink symlinkat keyctl setsid prlimit64 setrlimit bpf
  setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset prctl seccomp`;

/** Calls that change nothing but how the helper itself is seen or dies; every other call must be an op's. */
const ownAffairs =
  /^(prctl\(PR_SET_PDEATHSIG|prctl\(PR_SET_DUMPABLE|prctl\(PR_CAPBSET_READ|prctl\(PR_GET_|prlimit64\(\d+, \w+, NULL|keyctl\(KEYCTL_DESCRIBE)/;

const patienceMs = 25_000;

export interface Strace extends AsyncDisposable {
  /** Stops looking; then each process's privileged calls as strace printed them, in order. */
  calls(): Promise<ReadonlyMap<number, readonly string[]>>;
}

/** Follows a process and all that it starts; resolves once it is attached. */
export async function straceOf(pid: number): Promise<Strace> {
  const folder: Scratch = newScratch();
  const names = privileged.split(/\s+/).join(",");
  const options = ["-ff", "-qq", "-s", "4096", "-e", `trace=${names}`, "-e", "signal=none"];
  const strace = Bun.spawn(["strace", ...options, "-o", join(folder.path, "of"), "-p", String(pid)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  await waitFor("strace to be attached", () => {
    if (strace.exitCode !== null) throw new Error(`strace ended with ${strace.exitCode}`);
    // A thread that is not attached yet may start a process that nobody then wakes.
    return readdirSync(`/proc/${pid}/task`).every((thread) => isTraced(`/proc/${pid}/task/${thread}/status`));
  });
  // Whoever is stopped for a strace that hangs goes on when it is killed: the test then fails, and leaves nothing behind.
  const patience = setTimeout(() => strace.kill("SIGKILL"), patienceMs);
  const stop = async (): Promise<void> => {
    strace.kill("SIGINT");
    await strace.exited;
    clearTimeout(patience);
  };
  return {
    async calls() {
      await stop();
      return new Map(readdirSync(folder.path).map((name) => [Number(name.slice(3)), callsIn(join(folder.path, name))]));
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function isTraced(status: string): boolean {
  try {
    return /^TracerPid:\t[1-9]/m.test(readFileSync(status, "utf8"));
  } catch {
    // A thread that has ended meanwhile.
    return true;
  }
}

function callsIn(file: string): string[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => /^\w+\(/.test(line) && !ownAffairs.test(line));
}
