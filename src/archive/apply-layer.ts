// A layer archive (OCI image spec, layer.md) into a directory that an overlay mount can stack: whiteouts in the kernel's form.
import { EngineError } from "../common/index.ts";
import {
  closeFd,
  mkdirAt,
  mknodAt,
  openAt,
  openDirectory,
  openFlags,
  removeTreeAt,
  setXattr,
  statAt,
  tryUnlinkAt,
  type FileStat,
} from "../kernel/index.ts";
import { breathe } from "./breathe.ts";
import { joinPath, memberPath, splitPath } from "./member-path.ts";
import { tarError, type TarHeader } from "./tar-header.ts";
import { TarParser, type TarLimits } from "./tar-parser.ts";
import { TreeWriter, type Place } from "./tree-writer.ts";
import { treeSize } from "./tree-size.ts";
import { isWhiteout, opaqueAttribute, opaqueName, whiteoutPrefix } from "./whiteout.ts";

export interface AppliedLayer {
  /** Bytes of the layer's files and symlinks; names of one file count once. */
  readonly sizeBytes: number;
  /**
   * Directories that entries needed and the archive does not list, parents first; "" is the layer's root. They were made as 0755
   * root:root; whoever knows the layers below gives them the lower directory's mode and owner.
   */
  readonly impliedDirectories: string[];
  /**
   * What the archive deletes by name, in its order. Every one was made; whoever knows the layers below takes away those of nothing, which
   * the kernel would list as files that cannot be looked at, where no layer above has the directory.
   */
  readonly whiteouts: string[];
  /** With `stacked`: hard links to files that the archive does not bring, for whoever knows the layers below. They were not made. */
  readonly linksBelow: readonly LinkBelow[];
}

/** A hard link's own path and the path of its other name, both below the layer's root. */
export interface LinkBelow {
  readonly path: string;
  readonly target: string;
}

export interface ApplyOptions {
  readonly limits?: Partial<TarLimits>;
  /** Whether there are layers below, which hard links may name files of. Else such a link is refused. */
  readonly stacked?: boolean;
}

/**
 * Unpacks an uncompressed layer into an empty directory. `.wh.x` becomes a character device 0:0, `.wh..wh..opq` the attribute
 * trusted.overlay.opaque; metadata of old aufs hosts is dropped. The whole source is read. Throws `invalidArgument` for an
 * archive that is damaged, leaves the directory, or carries the overlay's own attributes; what was made so far stays.
 */
export async function applyLayer(
  tar: AsyncIterable<Uint8Array>,
  directory: string,
  options: ApplyOptions = {},
): Promise<AppliedLayer> {
  const rootFd = openDirectory(directory);
  using writer = new LayerWriter(rootFd, options.stacked ?? false);
  try {
    const parser = new TarParser(writer, options.limits);
    for await (const chunk of tar) {
      parser.push(chunk);
      await breathe();
    }
    parser.finish();
    writer.finish();
    const implied = writer.impliedDirectories;
    return {
      sizeBytes: writer.replaced ? await treeSize(directory) : writer.sizeBytes,
      impliedDirectories: writer.rootListed ? implied : ["", ...implied],
      whiteouts: [...writer.whiteouts],
      linksBelow: [...writer.linksBelow].map(([path, target]) => ({ path, target })),
    };
  } finally {
    closeFd(rootFd);
  }
}

/** What aufs kept in its branches. Hard links may name files in `.wh..wh.plnk`. */
const metadataPrefix = ".wh..wh.";
const linkDirectory = ".wh..wh.plnk";

class LayerWriter extends TreeWriter {
  rootListed = false;
  /** Files of `.wh..wh.plnk` wait here under a name that no archive can guess, until their links were made. */
  #parking: string | undefined;

  readonly whiteouts = new Set<string>();
  /** The other name by the link's path. */
  readonly linksBelow = new Map<string, string>();
  readonly #stacked: boolean;

  constructor(rootFd: number, stacked: boolean) {
    super({ rootFd, base: "" });
    this.#stacked = stacked;
  }

  protected override place(header: TarHeader, path: string): void {
    if (!path.includes(whiteoutPrefix)) return this.#placeEntry(header, path);
    const parts = path.split("/");
    const base = parts.pop() ?? "";
    const metadata = [...parts, base === opaqueName ? "" : base].some((part) => part.startsWith(metadataPrefix));
    if (metadata) return this.#placeMetadata(header, path);
    if (parts.some((part) => part.startsWith(whiteoutPrefix))) throw tarError("a whiteout is used as a directory");
    if (!base.startsWith(whiteoutPrefix)) return this.#placeEntry(header, path);
    const parent = parts.join("/");
    if (base === opaqueName) this.#makeOpaque(parent);
    else this.#placeWhiteout(parent, base.slice(whiteoutPrefix.length));
  }

  protected override placeRoot(header: TarHeader): void {
    super.placeRoot(header);
    this.rootListed = true;
    this.settleRoot(header);
  }

  /** Below a name that the same layer deleted, a new directory starts empty. */
  protected override makeRoom(parentFd: number, name: string, path: string): boolean {
    const present = statAt(parentFd, name);
    if (!present || !isWhiteout(present)) return false;
    tryUnlinkAt(parentFd, name, { directory: false });
    mkdirAt(parentFd, name, 0o755);
    this.#markOpaque(parentFd, name);
    this.noteImplied(path);
    return true;
  }

  protected override onReplaced(stat: FileStat, at: Place): void {
    if (isWhiteout(stat)) this.#markOpaque(at.parentFd, at.base);
  }

  protected override linkTarget(linkName: string): { fd: number; base: string } {
    const { parent, base } = splitPath(linkName.replace(/^(\.?\/)+/, ""));
    if (parent !== linkDirectory) return super.linkTarget(linkName);
    if (this.#parking === undefined) throw new EngineError("invalidArgument", `"${linkName}" is not there`);
    return { fd: openAt(this.rootFd, this.#parking, { flags: openFlags.directory }), base };
  }

  override finish(): void {
    if (this.#parking !== undefined) removeTreeAt(this.rootFd, this.#parking);
    super.finish();
  }

  #placeEntry(header: TarHeader, path: string): void {
    if (header.type !== "hardlink" || !this.#stacked) return super.place(header, path);
    const target = memberPath(header.linkName);
    const { parent, base } = splitPath(target);
    const fd = parent === linkDirectory ? -1 : this.parents.tryOpen(parent);
    const present = fd < 0 ? undefined : statAt(fd, base);
    if (fd >= 0) closeFd(fd);
    if (present && isWhiteout(present)) {
      throw new EngineError("invalidArgument", `its other name "${header.linkName}" is deleted by the same layer`);
    }
    if (present || parent === linkDirectory || path === "") return super.place(header, path);
    const own = splitPath(path);
    const parentFd = this.parents.open(own.parent);
    this.clear(header, { parentFd, base: own.base, path });
    this.linksBelow.set(path, target);
  }

  #placeMetadata(header: TarHeader, path: string): void {
    const { parent, base } = splitPath(path);
    if (parent !== linkDirectory || header.type !== "file") return;
    if (this.#parking === undefined) {
      this.#parking = `.parking-${crypto.randomUUID()}`;
      mkdirAt(this.rootFd, this.#parking, 0o700);
    }
    super.place(header, `${this.#parking}/${base}`);
  }

  #placeWhiteout(parent: string, name: string): void {
    if (name === "" || name === "." || name === "..") throw tarError(`a whiteout of "${name}" deletes no file`);
    this.whiteouts.add(joinPath(parent, name));
    const parentFd = this.parents.open(parent);
    const present = statAt(parentFd, name);
    if (!present) mknodAt(parentFd, name, { type: "character", mode: 0, major: 0, minor: 0 });
    // What this layer itself brings stays; only what is below goes (layer.md, "Whiteouts").
    else if (present.type === "directory") this.#markOpaque(parentFd, name);
  }

  #makeOpaque(path: string): void {
    const { parent, base } = splitPath(path);
    // Opening it makes it when the archive has not listed it yet.
    const directoryFd = this.parents.open(path);
    if (path === "") setXattr(`/proc/self/fd/${directoryFd}/.`, opaqueAttribute, Buffer.from("y"));
    else this.#markOpaque(this.parents.open(parent), base);
  }

  #markOpaque(parentFd: number, name: string): void {
    const fd = openAt(parentFd, name, { flags: openFlags.directory });
    try {
      setXattr(fd, opaqueAttribute, Buffer.from("y"));
    } finally {
      closeFd(fd);
    }
  }
}
