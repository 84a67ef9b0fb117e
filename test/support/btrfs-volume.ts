import { newLoopVolume, type LoopVolume } from "./loop-volume.ts";

/** A btrfs of 200 MB. */
export function newBtrfsVolume(): LoopVolume {
  return newLoopVolume(["mkfs.btrfs", "-q"], 200);
}
