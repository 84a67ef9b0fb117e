import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { mountsBelow, newScratch } from "../test/support/scratch.ts";
import { removeGroups } from "./peer-groups.ts";
import { capture, run } from "./programs.ts";

/** podman with folders of its own, in a network namespace of its own for each call. */
export interface PodmanPeer extends AsyncDisposable {
  readonly name: string;
  podman(...words: string[]): Promise<void>;
}

const locks = "/dev/shm/libpod_lock";
const group = `/bench-podman-${process.pid}`;

/** Loads the image of that archive; or says why podman cannot be measured here. */
export async function startPodman(archive: string): Promise<PodmanPeer | string> {
  if (!Bun.which("podman")) return '"podman" is not on this machine (Debian: podman)';
  const scratch = newScratch("vp-");
  const hadLocks = existsSync(locks);
  const own = (name: string): string => join(scratch.path, name);
  const flags = ["--root", own("root"), "--runroot", own("run"), "--tmpdir", own("tmp"), "--runtime", "runc"];
  const command = ["unshare", "--net", "podman", ...flags, "--cgroup-manager", "cgroupfs", "--events-backend", "none"];
  const podman = (...words: string[]): Promise<void> => run([...command, ...words]);
  const stop = async (): Promise<void> => {
    for (const mount of mountsBelow(scratch.path)) Bun.spawnSync(["umount", "-l", mount]);
    removeGroups(group);
    if (!hadLocks) rmSync(locks, { force: true });
    await scratch[Symbol.asyncDispose]();
  };
  try {
    await podman("load", "--quiet", "--input", archive);
    await podman("run", "--rm", ...podmanRunFlags, "bench", "busybox", "true");
  } catch (error) {
    await stop();
    return `podman does not run here: ${(error as Error).message}`;
  }
  const version = (await capture("podman", "version", "--format", "{{.Client.Version}}")) || "podman";
  return { name: `podman ${version}`, podman, [Symbol.asyncDispose]: stop };
}

/** Limits that need no privilege to be set, and no network, since its bridge would be the host's. */
export const podmanRunFlags: readonly string[] = [
  `--cgroup-parent=${group}`,
  "--ulimit=nofile=1024:1024",
  "--ulimit=nproc=1024:1024",
  "--network=none",
];
