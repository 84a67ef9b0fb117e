import type { Database } from "bun:sqlite";
import { join } from "node:path";
import { EngineError, type Paths } from "../common/index.ts";
import { filesystemOf, lstat } from "../kernel/index.ts";
import { backingName } from "./backing.ts";
import { fuseOverlay, kernelOverlay, type OverlayFlavour } from "./overlay-flavour.ts";
import { OverlaySnapshotter } from "./overlay-snapshotter.ts";
import { obstacleToOverlay } from "./overlay-trial.ts";
import { recordedDirectories } from "./records.ts";
import type { Snapshotter } from "./snapshotter.ts";
import { TreeSnapshotter } from "./tree-snapshotter.ts";
import { btrfsTrees, vfsTrees } from "./tree-store.ts";

export const storageDrivers = ["overlay2", "btrfs", "fuse-overlayfs", "vfs"] as const;
export type StorageDriver = (typeof storageDrivers)[number];

/** What Docker had besides, and what to take instead. */
const elsewhere: Readonly<Record<string, string>> = {
  aufs: "overlay2 replaced it; image layers that it wrote load into any driver",
  overlay: "overlay2 replaced it; image layers that it wrote load into any driver",
  devicemapper:
    "overlay2 replaced it, on any file system that holds the root; image layers that it wrote load into any driver",
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
  const snapshots = create(driver, options);
  const status = snapshots.status.bind(snapshots);
  snapshots.status = () => [...status(), ["Chosen", reason]];
  return snapshots;
}

function create(driver: StorageDriver, options: SnapshotterChoice): OverlaySnapshotter | TreeSnapshotter {
  if (driver === "btrfs") return new TreeSnapshotter(btrfsTrees, options);
  if (driver === "vfs") return new TreeSnapshotter(vfsTrees, options);
  const flavour = flavourOf(driver);
  if (flavour) return new OverlaySnapshotter(flavour, options);
  throw new EngineError("unavailable", `The storage driver ${driver} cannot work: ${noProgram}`);
}

const noProgram = "the program fuse-overlayfs is not installed";

/** Undefined where its program is missing. */
function flavourOf(driver: "overlay2" | "fuse-overlayfs"): OverlayFlavour | undefined {
  if (driver === "overlay2") return kernelOverlay;
  const program = Bun.which("fuse-overlayfs", { PATH: process.env.PATH ?? "" });
  return program === null ? undefined : fuseOverlay(program);
}

function choose({ paths, db, driver: asked }: SnapshotterChoice): { driver: StorageDriver; reason: string } {
  // An empty folder says nothing: another driver may have been tried here.
  const recorded = recordedDirectories(db);
  const present = storageDrivers.find((driver) =>
    recorded.some((id) => lstat(join(paths.root, driver, id)) !== undefined),
  );
  if (present !== undefined) {
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
  if (driver === "btrfs") {
    const { type } = filesystemOf(paths.root);
    return type === "btrfs" ? undefined : `subvolumes need btrfs, and this is ${type}`;
  }
  const flavour = flavourOf(driver);
  return flavour ? obstacleToOverlay(paths.root, flavour) : noProgram;
}
