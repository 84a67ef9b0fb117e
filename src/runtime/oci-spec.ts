import { existsSync, readdirSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import {
  type ContainerConfig,
  type HostConfig,
  type Mount,
  type OciLinux,
  type OciNamespace,
  type OciNamespaceType,
  type OciProcess,
  type OciSpec,
  type ProcessSpec,
  ociVersion,
} from "../spec/index.ts";
import { availableCapabilities, resolveCapabilities } from "./capabilities.ts";
import {
  type DeviceGrant,
  defaultDeviceRules,
  defaultDevices,
  grantAllDevices,
  grantDevice,
  parseDeviceRule,
} from "./host-devices.ts";
import { composeMounts, initPath } from "./oci-mounts.ts";
import { resolveResources } from "./oci-resources.ts";
import { resolveRlimits, unlimited } from "./rlimits.ts";
import { decideSeccomp } from "./seccomp.ts";
import { parseSecurityOptions } from "./security-options.ts";
import { resolveSysctls } from "./sysctls.ts";

export type NamespaceChoice =
  { readonly kind: "new" } | { readonly kind: "host" } | { readonly kind: "path"; readonly path: string };

export type NamespaceKey = "pid" | "ipc" | "uts" | "net" | "user" | "cgroup" | "mnt";

/** A container as Docker's API describes it, with what the engine has decided: everything that its OCI spec depends on. */
export interface SpecInput {
  readonly id: string;
  readonly config: ContainerConfig;
  readonly host: HostConfig;
  /** Where the root will be mounted on the host. */
  readonly rootPath: string;
  readonly mounts: readonly Mount[];
  readonly hostname: string;
  readonly namespaces: Readonly<Record<NamespaceKey, NamespaceChoice>>;
  readonly cgroupPath: string;
  readonly cgroupVersion: "v1" | "v2" | "hybrid";
  readonly process: ProcessSpec;
  /** A static init program of the host, for `--init`. */
  readonly initSource?: string;
}

const namespaceTypes: readonly (readonly [NamespaceKey, OciNamespaceType])[] = [
  ["mnt", "mount"],
  ["net", "network"],
  ["uts", "uts"],
  ["pid", "pid"],
  ["ipc", "ipc"],
  ["cgroup", "cgroup"],
  ["user", "user"],
];

/** Files of the kernel that tell of the host or of other containers (moby's list). */
const maskedPaths: readonly string[] = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
  ...thermalThrottlePaths(),
];

/** Files through which a container could change the host. */
const readonlyPaths: readonly string[] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** Temperatures by processor leak what neighbours do. */
function thermalThrottlePaths(): string[] {
  const root = "/sys/devices/system/cpu";
  try {
    return readdirSync(root)
      .filter((name) => /^cpu\d+$/.test(name))
      .map((name) => `${root}/${name}/thermal_throttle`)
      .filter((path) => existsSync(path));
  } catch {
    return [];
  }
}

/**
 * A container's OCI runtime configuration, as dockerd would write it. Reads the host's devices when they are asked for, and
 * nothing else. Throws invalidArgument or unsupported, naming the value.
 */
export function toOciSpec(input: SpecInput): OciSpec {
  const { config, host, process } = input;
  const security = parseSecurityOptions(host.SecurityOpt ?? []);
  const privileged = host.Privileged ?? false;
  const capabilities = resolveCapabilities({
    add: host.CapAdd ?? [],
    drop: host.CapDrop ?? [],
    privileged,
    available: availableCapabilities(),
  });
  const namespaces = toNamespaces(input);
  const initSource = initOf(input);
  const profile = privileged && security.seccompIsDefault ? undefined : security.seccomp;
  const seccomp = profile && decideSeccomp(profile, { capabilities });
  const ownUts = namespaces.some(({ type, path }) => type === "uts" && path === undefined);
  return {
    ociVersion,
    process: {
      ...toOciProcess(process, capabilities),
      args: initSource === undefined ? process.args : [initPath, "--", ...process.args],
      rlimits: resolveRlimits(host.Ulimits ?? []),
      noNewPrivileges: security.noNewPrivileges,
      oomScoreAdj: host.OomScoreAdj ?? 0,
    },
    root: { path: input.rootPath, readonly: host.ReadonlyRootfs ?? false },
    ...(ownUts && input.hostname && { hostname: input.hostname }),
    ...(ownUts && config.Domainname && { domainname: config.Domainname }),
    mounts: composeMounts({
      host,
      mounts: input.mounts,
      cgroupVersion: input.cgroupVersion,
      writableCgroups: security.writableCgroups,
      initSource,
    }),
    linux: { ...toLinux(input, namespaces), ...(seccomp && { seccomp }) },
  };
}

function toLinux(input: SpecInput, namespaces: readonly OciNamespace[]): OciLinux {
  const { host } = input;
  const privileged = host.Privileged ?? false;
  const { devices, rules } = grantDevices(host);
  const network = host.NetworkMode ?? "";
  return {
    namespaces,
    devices,
    cgroupsPath: input.cgroupPath,
    resources: resolveResources(host, rules),
    rootfsPropagation: rootPropagation(input.mounts),
    sysctl: resolveSysctls({
      given: host.Sysctls ?? {},
      namespaces,
      ownNetwork: input.namespaces.net.kind !== "host" && network !== "host" && !network.startsWith("container:"),
    }),
    maskedPaths: host.MaskedPaths ?? (privileged ? [] : maskedPaths),
    readonlyPaths: host.ReadonlyPaths ?? (privileged ? [] : readonlyPaths),
  };
}

function toNamespaces({ namespaces }: SpecInput): OciNamespace[] {
  if (namespaces.user.kind !== "host") {
    throw new EngineError("unsupported", "a user namespace of the container's own (userns-remap) is not built yet");
  }
  return namespaceTypes.flatMap(([key, type]): OciNamespace[] => {
    const choice = namespaces[key];
    if (choice.kind === "host") return [];
    return [choice.kind === "path" ? { type, path: choice.path } : { type }];
  });
}

/** Docker runs an init only where the container has process numbers of its own. */
function initOf({ host, namespaces, initSource }: SpecInput): string | undefined {
  if (!host.Init || namespaces.pid.kind !== "new") return undefined;
  if (initSource === undefined) throw new EngineError("unsupported", "--init is not built yet");
  return initSource;
}

function grantDevices(host: HostConfig): DeviceGrant {
  const extraRules = (host.DeviceCgroupRules ?? []).map(parseDeviceRule);
  if (host.Privileged) {
    const all = grantAllDevices();
    return { devices: withDefaults(all.devices), rules: [...all.rules, ...extraRules] };
  }
  const grants = (host.Devices ?? []).map(grantDevice);
  return {
    devices: withDefaults(grants.flatMap(({ devices }) => devices)),
    rules: [...defaultDeviceRules, ...grants.flatMap(({ rules }) => rules), ...extraRules],
  };
}

function withDefaults(devices: DeviceGrant["devices"]): DeviceGrant["devices"] {
  const given = new Map(devices.map((device) => [device.path, device]));
  return [...defaultDevices.filter(({ path }) => !given.has(path)), ...given.values()];
}

/** A mount that shares what is mounted below it with the host needs a root that does (moby's WithMounts). */
function rootPropagation(mounts: readonly Mount[]): OciLinux["rootfsPropagation"] {
  const options = new Set(mounts.flatMap((mount) => mount.options));
  if (options.has("shared") || options.has("rshared")) return "shared";
  return options.has("slave") || options.has("rslave") ? "slave" : "private";
}

/** The part of a process that create and exec share. */
export function toOciProcess(process: ProcessSpec, capabilities: readonly string[]): OciProcess {
  const [program] = process.args;
  if (!program) throw new EngineError("invalidArgument", "no command specified");
  if (!process.cwd.startsWith("/")) {
    throw new EngineError(
      "invalidArgument",
      `the working directory '${process.cwd}' is invalid, it needs to be an absolute path`,
    );
  }
  const { uid, gid, groups } = process.user;
  // As execve(2) leaves it: a user who is not root has the capabilities of files and nothing else.
  const held = uid === 0 ? capabilities : [];
  return {
    terminal: process.terminal,
    ...(process.consoleSize && { consoleSize: process.consoleSize }),
    user: { uid, gid, additionalGids: groups, umask: 0o022 },
    args: process.args,
    env: process.env,
    cwd: process.cwd,
    capabilities: { bounding: capabilities, effective: held, permitted: held, inheritable: [], ambient: [] },
  };
}

/** `config.json`'s text. JSON.stringify alone would write an unlimited rlimit as a number that is out of range. */
export function encodeOciSpec(spec: OciSpec): string {
  const mark = "18446744073709551615!";
  const text = JSON.stringify(spec, (_, value: unknown) => (value === unlimited ? mark : value));
  return text.replaceAll(`"${mark}"`, mark.slice(0, -1));
}
