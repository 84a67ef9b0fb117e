import { EngineError } from "../common/index.ts";
import { closeFd, openFlags, readLinkAt, statAt, SystemError, tryOpenInRoot } from "../kernel/index.ts";
import { joinPath } from "./member-path.ts";

/** As path_resolution(7). */
const linkLimit = 40;

/**
 * The path below the root, without symlinks and `..`, that `path` leads to in a chroot; "" is the root. `follow`: whether a
 * symlink at the end is followed. Throws `notFound` when something is missing, `invalidArgument` for a loop or a file used as
 * a directory. For a tree that changes meanwhile the answer may be stale; what opens it must refuse symlinks.
 */
export function resolveInRoot(
  rootFd: number,
  path: string,
  options: { follow: boolean; allowMissing?: boolean },
): string {
  const todo = path
    .split("/")
    .filter((part) => part !== "")
    .reverse();
  let done = "";
  let links = 0;
  for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
    if (part === ".") continue;
    if (part === "..") {
      done = done.includes("/") ? done.slice(0, done.lastIndexOf("/")) : "";
      continue;
    }
    const link = inspect(rootFd, { parent: done, name: part, path, allowMissing: options.allowMissing === true });
    const last = todo.every((rest) => rest === ".");
    if (link === undefined || (last && !options.follow)) {
      done = joinPath(done, part);
      continue;
    }
    if (++links > linkLimit) throw new EngineError("invalidArgument", `"${path}" leads through too many symlinks`);
    if (link.startsWith("/")) done = "";
    todo.push(
      ...link
        .split("/")
        .filter((piece) => piece !== "")
        .reverse(),
    );
  }
  return done;
}

/** What a symlink says; undefined for any other file. */
function inspect(
  rootFd: number,
  where: { parent: string; name: string; path: string; allowMissing: boolean },
): string | undefined {
  const { parent, name, path, allowMissing } = where;
  const fd = tryOpenInRoot(rootFd, parent, { flags: openFlags.path | openFlags.directory, symlinks: "refuse" });
  if (fd < 0) {
    if (allowMissing) return undefined;
    throw new SystemError("openat2", -fd, `Cannot find "${path}"`);
  }
  try {
    const stat = statAt(fd, name);
    if (stat) return stat.type === "symlink" ? readLinkAt(fd, name) : undefined;
    if (allowMissing) return undefined;
    throw new EngineError("notFound", `Cannot find "${path}": no such file or directory`, { data: { path } });
  } finally {
    closeFd(fd);
  }
}
