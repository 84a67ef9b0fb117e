import { mkdirSync, statSync } from "node:fs";
import { isAbsolute, normalize } from "node:path";
import { EngineError, newId, parseSize } from "../common/index.ts";
import type { ContainerConfig, HostConfig, Mount, MountRequest } from "../spec/index.ts";
import type { ContainerMount } from "./container-record.ts";
import type { LocalVolumes } from "./volume-service.ts";

const propagations = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/** A mount as asked for, before volumes are made. */
interface WantedMount {
  readonly kind: "bind" | "volume" | "tmpfs";
  readonly source: string;
  readonly destination: string;
  readonly mode: string;
  readonly readOnly: boolean;
  readonly propagation: string;
  readonly copyUp: boolean;
  /** Docker's `-v` makes a missing host directory, `--mount` does not. */
  readonly createSource: boolean;
  readonly recursive: boolean;
  readonly options: readonly string[];
}

/** All mounts of a new container: `-v`, `--mount`, then the image's VOLUMEs that none of them covers. Pure. */
export function wantedMounts(config: ContainerConfig, host: HostConfig): WantedMount[] {
  const wanted = [...(host.Binds ?? []).map(parseBind), ...(host.Mounts ?? []).map(parseMountRequest)];
  // The mounts of `--tmpfs` have no record: runtime takes them from HostConfig.
  const taken = new Set(Object.keys(host.Tmpfs ?? {}).map((path) => checkDestination(path, path)));
  for (const mount of wanted) {
    if (taken.has(mount.destination))
      throw new EngineError("invalidArgument", `Duplicate mount point: ${mount.destination}`);
    taken.add(mount.destination);
  }
  for (const path of Object.keys(config.Volumes ?? {})) {
    const destination = checkDestination(path, path);
    if (!taken.has(destination)) wanted.push({ ...volumeDefaults, kind: "volume", source: "", destination });
  }
  return wanted;
}

const volumeDefaults = {
  mode: "",
  readOnly: false,
  propagation: "",
  copyUp: true,
  createSource: false,
  recursive: true,
  options: [],
} as const;

/** `[SOURCE:]DESTINATION[:MODE]`, as `-v` is sent. */
export function parseBind(text: string): WantedMount {
  const parts = text.split(":");
  const invalid = (why: string): never => {
    throw new EngineError("invalidArgument", `invalid volume specification: '${text}'${why && `: ${why}`}`);
  };
  if (parts.length > 3 || parts.some((part) => part === "")) invalid("");
  const [first = "", second, mode = ""] = parts;
  if (second === undefined)
    return { ...volumeDefaults, kind: "volume", source: "", destination: checkDestination(first, text) };
  const flags = mode === "" ? [] : mode.split(",");
  for (const flag of flags) {
    if (!["ro", "rw", "z", "Z", "nocopy", ...propagations].includes(flag)) invalid(`invalid mode: ${mode}`);
  }
  if (flags.includes("ro") && flags.includes("rw")) invalid(`invalid mode: ${mode}`);
  const bind = isAbsolute(first);
  const propagation = flags.find((flag) => propagations.includes(flag)) ?? "";
  if (!bind && propagation) invalid(`invalid mode: ${mode}`);
  if (bind && flags.includes("nocopy")) invalid(`invalid mode: ${mode}`);
  return {
    kind: bind ? "bind" : "volume",
    source: bind ? normalize(first) : first,
    destination: checkDestination(second, text),
    mode,
    readOnly: flags.includes("ro"),
    propagation,
    copyUp: !flags.includes("nocopy"),
    createSource: bind,
    recursive: true,
    options: [],
  };
}

function parseMountRequest(mount: MountRequest): WantedMount {
  const destination = checkDestination(mount.Target, mount.Target);
  const readOnly = mount.ReadOnly ?? false;
  const mode = "";
  const base = { ...volumeDefaults, destination, readOnly, mode };
  switch (mount.Type) {
    case "bind": {
      if (!mount.Source || !isAbsolute(mount.Source)) {
        throw new EngineError(
          "invalidArgument",
          `invalid mount config for type "bind": invalid mount path: '${mount.Source ?? ""}' mount path must be absolute`,
        );
      }
      return {
        ...base,
        kind: "bind",
        source: normalize(mount.Source),
        propagation: mount.BindOptions?.Propagation ?? "",
        createSource: mount.BindOptions?.CreateMountpoint ?? false,
        recursive: !mount.BindOptions?.NonRecursive,
      };
    }
    case "volume":
      if (mount.VolumeOptions?.Subpath)
        throw new EngineError("unsupported", `volume-subpath "${mount.VolumeOptions.Subpath}" is not built yet`);
      if (mount.VolumeOptions?.DriverConfig?.Name && mount.VolumeOptions.DriverConfig.Name !== "local") {
        throw new EngineError(
          "unsupported",
          `The volume driver "${mount.VolumeOptions.DriverConfig.Name}" is not built`,
        );
      }
      return { ...base, kind: "volume", source: mount.Source ?? "", copyUp: !mount.VolumeOptions?.NoCopy };
    case "tmpfs": {
      const { SizeBytes: size, Mode: fileMode } = mount.TmpfsOptions ?? {};
      const options = [...(size ? [`size=${size}`] : []), ...(fileMode ? [`mode=${fileMode.toString(8)}`] : [])];
      return { ...parseTmpfs(destination, options.join(",")), readOnly };
    }
    default:
      throw new EngineError("unsupported", `Mounts of type "${mount.Type}" are not built yet`);
  }
}

const tmpfsFlags = ["ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "relatime", "sync"];

function parseTmpfs(path: string, options: string): WantedMount {
  const given = options === "" ? [] : options.split(",");
  for (const option of given) {
    const [key = "", value] = option.split("=");
    if (!tmpfsFlags.includes(key) && !["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"].includes(key)) {
      throw new EngineError("invalidArgument", `invalid tmpfs option ["${option}"]`);
    }
    if (key === "size" && !/^\d+%$/.test(value ?? "")) parseSize(value ?? "");
  }
  return {
    ...volumeDefaults,
    kind: "tmpfs",
    source: "",
    destination: checkDestination(path, path),
    options: given,
    readOnly: given.includes("ro"),
  };
}

function checkDestination(path: string, specification: string): string {
  if (!isAbsolute(path)) {
    throw new EngineError(
      "invalidArgument",
      `invalid volume specification: '${specification}': invalid mount path: '${path}' mount path must be absolute`,
    );
  }
  const destination = normalize(path).replace(/(.)\/+$/, "$1");
  if (destination === "/")
    throw new EngineError(
      "invalidArgument",
      `invalid volume specification: '${specification}': destination can't be '/'`,
    );
  if (destination.includes("\0")) throw new EngineError("invalidArgument", "A mount path holds a NUL byte");
  return destination;
}

/** Makes the volumes that are wanted and looks at the host's folders. */
export function realiseMounts(
  wanted: readonly WantedMount[],
  { volumes, containerId }: { volumes: LocalVolumes; containerId: string },
): { mounts: ContainerMount[]; copyUps: Set<string> } {
  const copyUps = new Set<string>();
  const mounts = wanted.map((mount): ContainerMount => {
    const common = {
      Destination: mount.destination,
      Mode: mount.mode,
      RW: !mount.readOnly,
      options: mount.options,
      anonymous: false,
      file: false,
    };
    if (mount.kind === "tmpfs") return { ...common, Type: "tmpfs", Source: "", Propagation: "" };
    if (mount.kind === "bind") {
      const recursion = mount.recursive ? [] : ["nonrecursive"];
      return {
        ...common,
        Type: "bind",
        Source: mount.source,
        Propagation: mount.propagation || "rprivate",
        file: !bindSource(mount),
        options: recursion,
      };
    }
    const anonymous = mount.source === "";
    const volume = anonymous
      ? volumes.ensure(newId(), { anonymous, madeFor: containerId })
      : volumes.ensure(mount.source, { anonymous });
    if (mount.copyUp) copyUps.add(mount.destination);
    return {
      ...common,
      Type: "volume",
      Name: volume.Name,
      Source: volume.Mountpoint,
      Driver: "local",
      Mode: mount.mode || "z",
      Propagation: "",
      anonymous,
    };
  });
  return { mounts, copyUps };
}

/** Whether the source is a directory; made when `-v` asked for a missing one. */
function bindSource(mount: WantedMount): boolean {
  try {
    return statSync(mount.source).isDirectory();
  } catch (cause) {
    if (!mount.createSource) {
      throw new EngineError(
        "invalidArgument",
        `invalid mount config for type "bind": bind source path does not exist: ${mount.source}`,
        { cause },
      );
    }
  }
  mkdirSync(mount.source, { recursive: true });
  return true;
}

/** The container's mounts for runtime, parents before what lies below them. */
export function runtimeMounts(mounts: readonly ContainerMount[]): Mount[] {
  return mounts.map(toRuntimeMount).sort((left, right) => depth(left.target) - depth(right.target));
}

function toRuntimeMount(mount: ContainerMount): Mount {
  if (mount.Type === "tmpfs") {
    const options = ["nosuid", "nodev", "noexec", ...mount.options.filter((option) => !["rw"].includes(option))];
    return { type: "tmpfs", source: "tmpfs", target: mount.Destination, options };
  }
  const bind = mount.options.includes("nonrecursive") ? "bind" : "rbind";
  const options = [bind, mount.Propagation || "rprivate", ...(mount.RW ? [] : ["ro"])];
  return { type: "bind", source: mount.Source, target: mount.Destination, options };
}

function depth(path: string): number {
  return path.split("/").filter(Boolean).length;
}
