import type { CgroupLimits, CgroupStats } from "./cgroups.ts";

/** The parts of stats that one version of control groups can tell. */
export type PartialStats = { -readonly [Name in keyof CgroupStats]?: CgroupStats[Name] };

/**
 * One version's share of a group: all v1 hierarchies together, or the unified one. A hybrid machine has both, and each limit goes to
 * the part that holds its controller. Paths are checked; `limits` hold only what that controller takes.
 */
export interface CgroupPart {
  /** v1's names: v2's io is `blkio` here. */
  readonly controllers: ReadonlySet<string>;
  /** Makes the group and its missing parents, ready for processes. Adds each directory of the group that is new to `made`. */
  make(path: string, made: string[]): void;
  /** controller, or the hierarchy's name → directory */
  directories(path: string): Record<string, string>;
  apply(path: string, controller: string, limits: CgroupLimits): void;
  freeze(path: string, frozen: boolean): Promise<void>;
  read(path: string): Record<string, string>;
  stats(path: string): PartialStats;
  oomControlFile(path: string): string;
}
