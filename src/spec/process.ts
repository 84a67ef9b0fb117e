/** A process to run in a container, decided to the last value: what create, exec and a build's RUN hand to runtime. */
export interface ProcessSpec {
  /** The program and its arguments; at least one. A name without a slash is looked up in PATH of `env`. */
  readonly args: readonly string[];
  /** `NAME=value` each, in order, no name twice. */
  readonly env: readonly string[];
  /** Absolute, inside the container. */
  readonly cwd: string;
  readonly user: ResolvedUser;
  readonly terminal: boolean;
  readonly consoleSize?: { readonly height: number; readonly width: number };
  /** exec: with all capabilities; the container's seccomp filter stays, as in Docker. */
  readonly privileged?: boolean;
}

/** A user as numbers, looked up in the container's own passwd and group files. */
export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, ascending, `gid` among them. */
  readonly groups: readonly number[];
  readonly home: string;
}
