// A commit's files from a remote into a folder, and nothing else of the repository unless it is asked for.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { splitPath, walkTree } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import {
  closeFd,
  openDirectory,
  openFlags,
  openInRoot,
  removeTreeAt,
  setTimesAt,
  tryOpenInRoot,
} from "../kernel/index.ts";
import { runGit, type GitSettings } from "./git-program.ts";

/** Files of a commit on disk. Dispose it to delete them. */
export interface GitCheckout extends AsyncDisposable {
  /** Folder of the files: the repository's, or the one inside it that was named. */
  readonly root: string;
  readonly commit: string;
  /** The committer's, in milliseconds since 1970. */
  readonly commitTimeMs: number;
}

interface CheckoutRequest {
  /** An empty folder that all of it is in. */
  readonly place: string;
  readonly remote: string;
  readonly commit: string;
  readonly name: string | undefined;
  readonly folder: string | undefined;
  readonly keepGitDirectory: boolean;
  readonly submodules: boolean;
  readonly mtime: "checkout" | "commit";
}

/** Throws `notFound` for a commit or a folder that is not there, `unavailable` with git's words. */
export async function checkoutGit(
  settings: GitSettings,
  request: CheckoutRequest,
): Promise<Omit<GitCheckout, typeof Symbol.asyncDispose>> {
  const { remote, commit, keepGitDirectory, folder } = request;
  const tree = join(request.place, "tree");
  const gitDirectory = keepGitDirectory ? join(tree, ".git") : join(request.place, "git");
  mkdirSync(tree, { mode: 0o755 });
  const call = { gitDirectory, workTree: tree, what: `check out "${remote}"` };
  const git = (...args: string[]): Promise<string> => runGit(settings, args, call);
  const format = commit.length === 64 ? ["--object-format=sha256"] : [];
  await git("init", "--quiet", "--template=", ...format);
  await git("config", "remote.origin.url", remote);
  await fetchCommit(settings, { ...request, gitDirectory });
  await git("-c", "advice.detachedHead=false", "checkout", "--quiet", "--force", "--detach", commit);
  if (request.submodules) await git("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1");
  const seconds = Number(await git("log", "-1", "--format=%ct", commit));
  if (keepGitDirectory) rmSync(join(gitDirectory, "FETCH_HEAD"), { force: true });
  else removeGitFiles(tree);
  const root = folder === undefined ? tree : openFolder(tree, { folder, remote });
  if (request.mtime === "commit") setTimes(root, BigInt(seconds) * 1_000_000_000n);
  return { root, commit, commitTimeMs: seconds * 1000 };
}

/** By its name at depth one; if that moved meanwhile, or there is none, by its id; where the server refuses ids, all of it. */
async function fetchCommit(settings: GitSettings, request: CheckoutRequest & { gitDirectory: string }): Promise<void> {
  const { gitDirectory, remote, commit, name } = request;
  const call = { gitDirectory, what: `fetch "${remote}"` };
  const fetch = (...args: string[]): Promise<string> =>
    runGit(settings, ["fetch", "--quiet", "--no-recurse-submodules", "--force", "--update-head-ok", ...args], call);
  const isHere = async (): Promise<boolean> =>
    runGit(settings, ["cat-file", "-e", `${commit}^{commit}`], call).then(
      () => true,
      (error: unknown) => {
        settings.signal?.throwIfAborted();
        if (error instanceof EngineError && error.code === "unavailable") return false;
        throw error;
      },
    );
  if (name !== undefined) {
    await fetch("--depth=1", "--no-tags", "--", remote, `+${name}:${name}`);
    if (await isHere()) return;
  }
  try {
    await fetch("--depth=1", "--no-tags", "--", remote, commit);
  } catch (error) {
    settings.signal?.throwIfAborted();
    if (
      !(error instanceof EngineError) ||
      !/not our ref|unadvertised|does not allow|no such remote ref|not found/i.test(error.message)
    )
      throw error;
    const unshallow = name === undefined ? [] : ["--unshallow"];
    await fetch(...unshallow, "--no-tags", "--", remote, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*");
  }
  if (await isHere()) return;
  throw new EngineError("notFound", `The repository "${remote}" does not contain the commit ${commit}`);
}

/** The files by which submodules point to where their repositories were; a repository itself can have no such name. */
function removeGitFiles(tree: string): void {
  const rootFd = openDirectory(tree);
  try {
    const found = [...walkTree(rootFd, "", { xattrs: false })].filter(({ path }) => splitPath(path).base === ".git");
    for (const { path } of found) {
      const parent = openInRoot(rootFd, splitPath(path).parent, { flags: openFlags.directory, symlinks: "refuse" });
      try {
        removeTreeAt(parent, ".git");
      } finally {
        closeFd(parent);
      }
    }
  } finally {
    closeFd(rootFd);
  }
}

/** A folder of the repository; a symlink on the way could lead anywhere on this machine, and is refused. */
function openFolder(tree: string, { folder, remote }: { folder: string; remote: string }): string {
  const rootFd = openDirectory(tree);
  const fd = tryOpenInRoot(rootFd, folder, { flags: openFlags.directory | openFlags.noFollow, symlinks: "refuse" });
  closeFd(rootFd);
  if (fd < 0) {
    throw new EngineError(
      "notFound",
      `invalid subdir ${folder}: the repository "${remote}" has no such folder, or a symlink in its place`,
    );
  }
  closeFd(fd);
  return join(tree, folder);
}

/** Children before their folder, whose time writing a child would change. */
function setTimes(root: string, timeNs: bigint): void {
  const rootFd = openDirectory(root);
  try {
    for (const { path } of [...walkTree(rootFd, "", { xattrs: false })].toReversed()) {
      const parent = openInRoot(rootFd, splitPath(path).parent, { flags: openFlags.directory, symlinks: "refuse" });
      try {
        setTimesAt(parent, path === "" ? "." : splitPath(path).base, timeNs);
      } finally {
        closeFd(parent);
      }
    }
  } finally {
    closeFd(rootFd);
  }
}
