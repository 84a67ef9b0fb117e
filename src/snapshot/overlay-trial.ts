import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isWhiteout } from "../archive/index.ts";
import { lstat, mount, unmount } from "../kernel/index.ts";
import type { OverlayFlavour } from "./overlay-flavour.ts";

/**
 * Asks by a trial mount in `root`: an upper directory there must be able to hold whiteouts in the kernel's form. Why it cannot be;
 * undefined when it can.
 */
export function obstacleToOverlay(root: string, flavour: OverlayFlavour): string | undefined {
  const probe = join(root, `.overlay-probe-${crypto.randomUUID()}`);
  const target = join(probe, "merged");
  try {
    for (const name of ["lower/file", "upper", "work", "merged"]) mkdirSync(join(probe, name), { recursive: true });
    mount(flavour.mount({ lowers: ["lower"], upper: "upper", work: "work", target, workingDirectory: probe }));
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
