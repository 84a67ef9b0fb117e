/** One mount(2), made by snapshot and volumes, consumed by runtime; neither knows the other. */
export interface Mount {
  /** `overlay`, `bind`, `tmpfs`, `proc`, …; `fuse.NAME` where a program serves it: then `source` is that program's absolute path */
  readonly type: string;
  readonly source: string;
  /** Absolute. For a container's mounts: the path inside its root. For a snapshot's root: the path on the host. */
  readonly target: string;
  /** As in mount(8)'s -o: flags (`ro`, `nosuid`, `rbind`, `rprivate`, …) and file system data together. */
  readonly options: readonly string[];
  /** Directory that relative paths in `options` are resolved from; overlay's short `l/` links need it. */
  readonly workingDirectory?: string;
}
