import type { Database } from "bun:sqlite";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { EngineError, type Paths } from "../common/index.ts";
import { filesystemOf, lstat, mount, unmount } from "../kernel/index.ts";
import { isWhiteout } from "../archive/index.ts";
import { overlayOptions } from "./overlay2-layout.ts";
import { createOverlay2 } from "./overlay-snapshotter.ts";
import { layerCount } from "./records.ts";
import type { Snapshotter } from "./snapshotter.ts";
import { TreeSnapshotter } from "./tree-snapshotter.ts";
import { backingName, btrfsTrees, vfsTrees } from "./tree-store.ts";

export const storageDrivers = ["overlay2", "btrfs", "vfs"] as const;
export type StorageDriver = (typeof storageDrivers)[number];

/** What Docker had besides, and what to take instead. */
const elsewhere: Readonly<Record<string, string>> = {
  aufs: "overlay2 replaced it; image layers that it wrote load into any driver",
  overlay: "overlay2 replaced it; image layers that it wrote load into any driver",
  devicemapper:
    "overlay2 replaced it, on any file system that holds the root; image layers that it wrote load into any driver",
  "fuse-overlayfs":
    "it is for engines without root, and this one has the kernel's own: take overlay2, or vfs where that cannot be",
  zfs: "take overlay2, or vfs where the pool cannot hold it",
};

/** Throws `unsupported` with what replaced a driver, `invalidArgument` for a name that none has. */
export function parseStorageDriver(name: string): StorageDriver {
  const known = storageDrivers.find((driver) => driver === name);
  if (known) return known;
  const instead = elsewhere[name];
  if (instead !== undefined) {
    throw new EngineError("unsupported", `The storage driver "${name}" is not supported: ${instead}`);
  }
  throw new EngineError(
    "invalidArgument",
    `No storage driver is called "${name}": there are ${storageDrivers.join(", ")}`,
  );
}

interface SnapshotterChoice {
  readonly paths: Paths;
  readonly db: Database;
  readonly runState?: Database;
  /** Absent: the one that the root has layers of, else the first that its file system can hold. */
  readonly driver?: StorageDriver;
}

/**
 * The snapshotter of an engine's root. A root has one driver: another one is refused with `conflict` while layers are there.
 * Throws `unavailable` where the file system cannot hold the driver that was asked for.
 */
export function openSnapshotter(options: SnapshotterChoice): Snapshotter & { settled(): Promise<void> } {
  const { driver, reason } = choose(options);
  const snapshots = driver === "overlay2" ? createOverlay2(options) : new TreeSnapshotter(treesOf(driver), options);
  const status = snapshots.status.bind(snapshots);
  snapshots.status = () => [...status(), ["Chosen", reason]];
  return snapshots;
}

const treesOf = (driver: StorageDriver): typeof vfsTrees => (driver === "btrfs" ? btrfsTrees : vfsTrees);

function choose({ paths, db, driver: asked }: SnapshotterChoice): { driver: StorageDriver; reason: string } {
  const present = storageDrivers.find((driver) => lstat(join(paths.root, driver)) !== undefined);
  if (present !== undefined && layerCount(db) > 0) {
    if (asked === undefined || asked === present)
      return { driver: present, reason: "the layers that are here are its" };
    throw new EngineError(
      "conflict",
      `"${paths.root}" holds layers of the storage driver ${present}: remove its images, or give ${asked} another --root`,
    );
  }
  const backing = backingName(paths.root);
  if (asked !== undefined) {
    const obstacle = obstacleTo(asked, paths);
    if (obstacle === undefined) return { driver: asked, reason: "it was asked for" };
    throw new EngineError(
      "unavailable",
      `The storage driver ${asked} cannot work on "${paths.root}" (${backing}): ${obstacle}`,
    );
  }
  const reasons: string[] = [];
  for (const driver of storageDrivers) {
    const obstacle = obstacleTo(driver, paths);
    if (obstacle === undefined) return { driver, reason: [`${backing} can hold it`, ...reasons].join("; ") };
    reasons.push(`not ${driver}: ${obstacle}`);
  }
  throw new EngineError("unavailable", `No storage driver can work on "${paths.root}": ${reasons.join("; ")}`);
}

/** Why this driver cannot work there; undefined when it can. */
function obstacleTo(driver: StorageDriver, paths: Paths): string | undefined {
  if (driver === "vfs") return undefined;
  if (driver === "overlay2") return obstacleToOverlay(paths);
  const { type } = filesystemOf(paths.root);
  return type === "btrfs" ? undefined : `subvolumes need btrfs, and this is ${type}`;
}

/** Asks the kernel: an upper directory must be able to hold whiteouts and the overlay's attributes. */
function obstacleToOverlay(paths: Paths): string | undefined {
  const probe = join(paths.root, `.overlay-probe-${crypto.randomUUID()}`);
  const target = join(probe, "merged");
  try {
    for (const name of ["lower/file", "upper", "work", "merged"]) mkdirSync(join(probe, name), { recursive: true });
    const options = ["lowerdir=lower", "upperdir=upper", "workdir=work", ...overlayOptions];
    mount({ type: "overlay", source: "overlay", target, options, workingDirectory: probe });
    try {
      rmSync(join(target, "file"), { recursive: true });
      // Where the file system tells no types, the kernel cannot know a whiteout in a listing.
      if (readdirSync(target).length > 0) return "its directory listings tell no types (d_type)";
    } finally {
      unmount(target, { lazy: true });
    }
    const left = lstat(join(probe, "upper", "file"));
    return left && isWhiteout(left) ? undefined : "a deletion left no whiteout in the upper directory";
  } catch (error) {
    return (error as Error).message.replace(`"${target}"`, "a trial");
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}
