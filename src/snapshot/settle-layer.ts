// What a layer's archive leaves open until the layers below are known. It is unpacked without them, so that layers need not wait.
import { constants } from "node:fs";
import { copyFile } from "node:fs/promises";
import { isOpaque, isWhiteout, joinPath, splitPath, type AppliedLayer, type LinkBelow } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import {
  chmodAt,
  chownAt,
  closeFd,
  linkAt,
  mkdirAt,
  mknodAt,
  openDirectory,
  openFlags,
  procPath,
  readLinkAt,
  readXattrs,
  setTimesAt,
  setTimesFd,
  statAt,
  statFd,
  symlinkAt,
  tryOpenInRoot,
  trySetXattr,
  tryUnlinkAt,
} from "../kernel/index.ts";
import { copyAttributes } from "./copy-attributes.ts";
import { LowerView, type LowerNode } from "./lower-view.ts";

/**
 * Ends an unpack (`applyLayer` with `stacked`) in the directory `diff`: hard links to files of the layers below bring a copy of these, as
 * a copy-up does; a whiteout of nothing goes; directories that the archive implied take the lower directory's mode, owner, attributes
 * and time. Answers the bytes that were copied, and which directories the layer does not speak of. Throws `invalidArgument` for a link to nothing.
 */
export async function settleLayer(
  diff: string,
  applied: AppliedLayer,
  below: readonly string[],
): Promise<{ copiedBytes: number; impliedDirectories: string[] }> {
  const layer = new OpenLayer(diff, below);
  try {
    const implied = new Set(applied.impliedDirectories);
    for (const link of applied.linksBelow) await layer.link(link, implied);
    for (const path of applied.whiteouts) layer.dropWhiteoutOfNothing(path);
    for (const path of [...implied].toReversed()) if (layer.dropEmpty(path)) implied.delete(path);
    layer.restoreTimes();
    for (const path of implied) layer.takeAttributes(path);
    return { copiedBytes: layer.copiedBytes, impliedDirectories: [...implied] };
  } finally {
    layer.close();
  }
}

class OpenLayer {
  copiedBytes = 0;
  readonly #diff: string;
  readonly #below: LowerView;
  readonly #together: LowerView;
  readonly #rootFd: number;
  /** Names that were made here, of files of the layers below. */
  readonly #made = new Set<string>();
  /** Of directories that were changed here. */
  readonly #times = new Map<string, bigint>();

  constructor(diff: string, below: readonly string[]) {
    this.#diff = diff;
    this.#below = new LowerView(below);
    this.#together = new LowerView([diff, ...below]);
    this.#rootFd = openDirectory(diff);
  }

  close(): void {
    closeFd(this.#rootFd);
  }

  async link({ path, target }: LinkBelow, implied: Set<string>): Promise<void> {
    const place = splitPath(path);
    const fd = this.#directory(place.parent);
    if (fd < 0) return;
    try {
      const present = statAt(fd, place.base);
      // A later entry took the name.
      if (present && !isWhiteout(present)) return;
      if (present) tryUnlinkAt(fd, place.base, { directory: false });
      this.#remember(place.parent, fd);
      if (!this.#made.has(target)) {
        const node = this.#below.find(target);
        if (!node || node.stat.type === "directory") throw missing({ path, target });
        const shows = this.#together.find(target)?.directories[0] === node.directories[0];
        // Where the layer hides the file that the link was made to, only the link's name is left of it.
        if (!shows) {
          this.#made.add(path);
          return await this.#copyUp(node, { fd, base: place.base });
        }
        await this.#copyTarget(node, { target, implied });
      }
      const other = splitPath(target);
      const otherFd = this.#directory(other.parent);
      if (otherFd < 0) throw missing({ path, target });
      try {
        linkAt(otherFd, other.base, fd, place.base);
        this.#made.add(path);
      } finally {
        closeFd(otherFd);
      }
    } finally {
      closeFd(fd);
    }
  }

  dropWhiteoutOfNothing(path: string): void {
    if (this.#below.find(path)) return;
    const { parent, base } = splitPath(path);
    const fd = this.#directory(parent);
    if (fd < 0) return;
    try {
      const present = statAt(fd, base);
      if (!present || !isWhiteout(present)) return;
      this.#remember(parent, fd);
      tryUnlinkAt(fd, base, { directory: false });
    } finally {
      closeFd(fd);
    }
  }

  /** A directory that only whiteouts of nothing implied goes with them; whether it did. */
  dropEmpty(path: string): boolean {
    if (path === "" || isOpaque(`${this.#diff}/${path}`)) return false;
    const { parent, base } = splitPath(path);
    const fd = this.#directory(parent);
    if (fd < 0) return false;
    try {
      this.#remember(parent, fd);
      return tryUnlinkAt(fd, base, { directory: true }) === 0;
    } finally {
      closeFd(fd);
    }
  }

  restoreTimes(): void {
    for (const [path, mtimeNs] of this.#times) {
      const fd = tryOpenInRoot(this.#rootFd, path, { flags: openFlags.directory, symlinks: "refuse" });
      if (fd < 0) continue;
      setTimesFd(fd, mtimeNs);
      closeFd(fd);
    }
  }

  takeAttributes(path: string): void {
    const node = this.#below.find(path);
    if (node) copyAttributes(node, this.#diff, path);
  }

  /** Makes the target's own name here, with its directories. */
  async #copyTarget(node: LowerNode, { target, implied }: { target: string; implied: Set<string> }): Promise<void> {
    const { parent, base } = splitPath(target);
    let reached = "";
    for (const part of parent === "" ? [] : parent.split("/")) {
      const fd = this.#directory(reached);
      this.#remember(reached, fd);
      const path = joinPath(reached, part);
      if (mkdirAt(fd, part, 0o755)) implied.add(path);
      closeFd(fd);
      reached = path;
    }
    const fd = this.#directory(parent);
    try {
      this.#remember(parent, fd);
      await this.#copyUp(node, { fd, base });
      this.#made.add(target);
    } finally {
      closeFd(fd);
    }
  }

  async #copyUp({ stat, directories }: LowerNode, { fd, base }: { fd: number; base: string }): Promise<void> {
    const source = directories[0] ?? "";
    const place = procPath(fd, base);
    if (stat.type === "file") {
      await copyFile(source, place, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      this.copiedBytes += Number(stat.size);
    } else if (stat.type === "symlink") symlinkAt(readLinkAt(-100, source), fd, base);
    else if (stat.type === "character" || stat.type === "block" || stat.type === "fifo") {
      mknodAt(fd, base, { type: stat.type, mode: 0o600, major: stat.rdevMajor, minor: stat.rdevMinor });
    }
    chownAt(fd, base, stat);
    if (stat.type !== "symlink") chmodAt(fd, base, stat.mode);
    for (const [name, value] of readXattrs(source)) {
      if (!/^(trusted|user)\.overlay\./.test(name)) trySetXattr(place, name, value);
    }
    setTimesAt(fd, base, stat.mtimeNs);
  }

  /** A descriptor, or a negative errno where the path is no directory of this layer. */
  #directory(path: string): number {
    return tryOpenInRoot(this.#rootFd, path, { flags: openFlags.path | openFlags.directory, symlinks: "refuse" });
  }

  #remember(path: string, fd: number): void {
    if (!this.#times.has(path)) this.#times.set(path, statFd(fd).mtimeNs);
  }
}

function missing({ path, target }: LinkBelow): EngineError {
  return new EngineError("invalidArgument", `Cannot unpack "${path}": its other name "${target}" is not there`);
}
