import type { ProcessIdentity } from "../kernel/index.ts";
import type {
  ContainerConfig,
  EndpointConfig,
  EndpointSettings,
  HealthState,
  HostConfig,
  MountPoint,
  PortBinding,
} from "../spec/index.ts";

/** A mount of a container as decided at its creation, with what the inspect's MountPoint does not say. */
export interface ContainerMount extends MountPoint {
  /** Made with this container and without a name: removed with it (`rm -v`, `--rm`). */
  readonly anonymous: boolean;
  /** A file is bound, not a directory. */
  readonly file: boolean;
  /** Mount options for a tmpfs. */
  readonly options: readonly string[];
}

/** What the kernel and the clock said of the last run. Times are RFC 3339; zero time when it never happened. */
export interface RunState {
  phase: "created" | "starting" | "running" | "exited" | "removing" | "dead";
  paused: boolean;
  /** `paused` only for as long as a commit reads its files. */
  frozenToCommit?: boolean;
  /** Waiting for the restart policy's back-off. */
  restarting: boolean;
  oomKilled: boolean;
  pid: number;
  /** Field 22 of /proc/PID/stat: with the boot id it tells a process from a later one of the same number. */
  startTime: string;
  bootId: string;
  exitCode: number;
  error: string;
  startedAt: string;
  finishedAt: string;
  /** A person stopped it: `unless-stopped` and `always` leave it alone until it is started again. */
  stoppedByUser: boolean;
  /** Since the first start of a container with a health check. */
  health?: HealthState;
  /** In phase "removing": anonymous volumes go too. */
  removingVolumes?: boolean;
}

export interface NetworkState {
  networkName: string;
  sandboxKey: string;
  settings: EndpointSettings | undefined;
  ports: Record<string, PortBinding[] | null>;
}

/** The truth about a container, as the database holds it. */
export interface ContainerRecord {
  readonly id: string;
  name: string;
  readonly createdAt: string;
  readonly imageId: string;
  /** Image config and request merged, as inspect shows it. */
  readonly config: ContainerConfig;
  readonly host: HostConfig;
  readonly endpoints: Readonly<Record<string, EndpointConfig>>;
  readonly path: string;
  readonly args: readonly string[];
  readonly mounts: readonly ContainerMount[];
  readonly state: RunState;
  network: NetworkState | undefined;
  restartCount: number;
}

export const zeroTime = "0001-01-01T00:00:00Z";

export function newRunState(): RunState {
  return {
    phase: "created",
    paused: false,
    restarting: false,
    oomKilled: false,
    pid: 0,
    startTime: "",
    bootId: "",
    exitCode: 0,
    error: "",
    startedAt: zeroTime,
    finishedAt: zeroTime,
    stoppedByUser: false,
  };
}

/** What tells the container's process from a later one of the same number. */
export function identityOf({ state }: ContainerRecord): ProcessIdentity {
  return { pid: state.pid, startTime: Number(state.startTime), bootId: state.bootId };
}

export function isRunning(record: ContainerRecord): boolean {
  return record.state.phase === "running";
}
