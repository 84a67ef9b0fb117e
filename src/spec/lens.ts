import type { ContainerInspect } from "./docker.ts";

/** One op of a start with what it did: `explain` has no results, `--trace` has. */
export interface TracedOp {
  readonly index: number;
  readonly actor: string;
  readonly name: string;
  readonly arguments: readonly string[];
  readonly reason: string;
  readonly errno?: number;
  readonly nanoseconds?: number;
}

/** What `vitrine panorama` draws: every value is read from the kernel when asked. Absent parts are null. */
export interface Panorama {
  readonly container: ContainerInspect;
  readonly process: {
    readonly pid: number;
    readonly command: string;
    readonly uid: number;
    readonly namespaces: Readonly<Record<string, { readonly inode: number; readonly sharedWithHost: boolean }>>;
  } | null;
  readonly cgroup: {
    readonly version: string;
    readonly directories: Readonly<Record<string, string>>;
    readonly values: Readonly<Record<string, string>>;
  } | null;
  readonly readWriteLayer: {
    readonly directory: string;
    readonly sizeBytes: number;
    readonly mountPoints: readonly string[];
  };
  readonly initLayer: { readonly directory: string };
  /** Top first. */
  readonly imageLayers: readonly {
    readonly directory: string;
    readonly diffId: string;
    readonly instruction: string;
    readonly sizeBytes: number;
  }[];
  readonly imageReferences: readonly string[];
}
