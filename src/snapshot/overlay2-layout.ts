// The directories of overlay2, with Docker's names. docs/flows/layers.md shows a tree.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  type Stats,
} from "node:fs";
import { join } from "node:path";
import { mountDataLimitBytes, unmount } from "../kernel/index.ts";
import { keyLimitBytes } from "./snapshot-key.ts";
import type { Trash } from "./trash.ts";

const linkLength = 26;
const linkPattern = /^l\/[A-Z2-7]{26}$/;
/** So that the redirects and copies of other overlays cannot get into an upper directory, which must be a plain diff. */
export const overlayOptions: readonly string[] = ["metacopy=off", "index=off", "redirect_dir=off"];

/**
 * Image layers a container can stand on: as many as leave room for the init layer and the longest key in mount(2)'s one page.
 * Measured: the kernel takes exactly these and refuses one more.
 */
export const maxLayers: number = (() => {
  const key = "k".repeat(keyLimitBytes);
  const fixed = ["lowerdir=", `upperdir=${key}/diff`, `workdir=${key}/work`, ...overlayOptions].join(",").length;
  const linkBytes = "l/".length + linkLength + ":".length;
  // The last link has no colon.
  return Math.floor((mountDataLimitBytes - fixed + 1) / linkBytes) - 1;
})();

/** One layer's or snapshot's directory. */
export class Overlay2Layout {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
    mkdirSync(join(root, "l"), { recursive: true, mode: 0o710 });
    chmodSync(root, 0o710);
  }

  get root(): string {
    return this.#root;
  }
  directory(id: string): string {
    return join(this.#root, id);
  }
  diff(id: string): string {
    return join(this.#root, id, "diff");
  }
  /** The short name of a directory's diff, relative to the root: `l/ABC…`. */
  link(id: string): string {
    return `l/${readFileSync(join(this.#root, id, "link"), "utf8")}`;
  }

  /**
   * Makes `<id>/` with diff, link and, with something below, lower and work. `lowers`: directory names, top first.
   * `diff: false` leaves room for a rename.
   */
  create(id: string, options: { lowers: readonly string[]; merged?: boolean; diff?: boolean }): void {
    const directory = this.directory(id);
    mkdirSync(directory, { mode: 0o710 });
    if (options.diff !== false) this.#makeDiff(directory);
    const name = newLinkName();
    // The name first: whatever fails after it, `discard` finds the link.
    writeFileSync(join(directory, "link"), name, { mode: 0o644 });
    symlinkSync(`../${id}/diff`, join(this.#root, "l", name));
    this.stack(id, options.lowers);
    if (options.lowers.length === 0 && options.merged === true) mkdirSync(join(directory, "work"), { mode: 0o700 });
    if (options.merged === true) mkdirSync(join(directory, "merged"), { mode: 0o700 });
  }

  /** Puts a directory that was made on nothing on top of others. */
  stack(id: string, lowers: readonly string[]): void {
    if (lowers.length === 0) return;
    const directory = this.directory(id);
    writeFileSync(join(directory, "lower"), lowers.map((lower) => this.link(lower)).join(":"), { mode: 0o644 });
    mkdirSync(join(directory, "work"), { mode: 0o700 });
  }

  #makeDiff(directory: string): void {
    mkdirSync(join(directory, "diff"));
    chmodSync(join(directory, "diff"), 0o755);
  }

  /** Moves `<id>/` and its link to the trash; a leftover mount goes first. Idempotent. */
  discard(id: string, trash: Trash): void {
    const directory = this.directory(id);
    if (!existsSync(directory)) return;
    if (this.isMounted(id)) unmount(join(directory, "merged"), { lazy: true });
    // A crash can have left the file empty; then the sweep finds the link by what it points at.
    const file = join(directory, "link");
    if (existsSync(file) && linkPattern.test(this.link(id))) removeLink(join(this.#root, this.link(id)));
    trash.add(directory);
  }

  /** Whether something is mounted at `<id>/merged`: then it is on another device than its parent. */
  isMounted(id: string): boolean {
    const merged = lookAt(join(this.directory(id), "merged"));
    if (merged === "no server") return true;
    const parent = lstatSync(this.directory(id), { throwIfNoEntry: false });
    if (merged === undefined || parent === undefined) return false;
    if (merged.dev !== parent.dev) return true;
    // A bind of diff, which a snapshot of nothing has, stays on the device.
    return merged.ino === lstatSync(this.diff(id), { throwIfNoEntry: false })?.ino;
  }

  /** Discards every directory and link that is not among the known ids. */
  sweep(known: ReadonlySet<string>, trash: Trash): void {
    for (const name of readdirSync(this.#root)) {
      if (name !== "l" && !known.has(name)) this.discard(name, trash);
    }
    const links = join(this.#root, "l");
    for (const name of readdirSync(links)) {
      const id = /^\.\.\/([^/]+)\/diff$/.exec(readlinkSync(join(links, name)))?.[1];
      if (id === undefined || !known.has(id) || this.link(id) !== `l/${name}`) removeLink(join(links, name));
    }
  }
}

/** A FUSE mount whose program was killed answers nothing but that. */
function lookAt(path: string): Stats | "no server" | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if ((error as { code?: string }).code === "ENOTCONN") return "no server";
    throw error;
  }
}

function removeLink(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })) unlinkSync(path);
}

const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** 130 random bits in base 32: short, so that many fit a mount's page. */
function newLinkName(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(linkLength)), (byte) => base32[byte & 31]).join("");
}
