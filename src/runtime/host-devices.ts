import { readdirSync, statSync, type Stats } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../common/index.ts";
import type { DeviceMapping, DeviceRule, OciDevice } from "../spec/index.ts";

/** Devices with the rules that let the container use them. */
export interface DeviceGrant {
  readonly devices: readonly OciDevice[];
  readonly rules: readonly DeviceRule[];
}

const maxDevices = 1024;
/** Folders of /dev that belong to the host's own mounts, and its console (moby's list). */
const skippedNames = new Set(["pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"]);

/** What every container has in /dev (OCI config-linux.md, Default Devices); /dev/console and /dev/ptmx are made otherwise. */
export const defaultDevices: readonly OciDevice[] = (
  [
    ["/dev/null", 1, 3],
    ["/dev/zero", 1, 5],
    ["/dev/full", 1, 7],
    ["/dev/random", 1, 8],
    ["/dev/urandom", 1, 9],
    ["/dev/tty", 5, 0],
  ] as const
).map(([path, major, minor]) => ({ path, type: "c", major, minor, fileMode: 0o666, uid: 0, gid: 0 }));

/** Everything is refused but making nodes, the default devices, and terminals (runc's and Docker's defaults). */
export const defaultDeviceRules: readonly DeviceRule[] = [
  { allow: false, access: "rwm" },
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  ...defaultDevices.map(({ major, minor }): DeviceRule => ({ allow: true, type: "c", major, minor, access: "rwm" })),
  { allow: true, type: "c", major: 5, minor: 1, access: "rwm" },
  { allow: true, type: "c", major: 5, minor: 2, access: "rwm" },
  { allow: true, type: "c", major: 136, access: "rwm" },
];

/**
 * `--device HOST[:CONTAINER[:rwm]]`: a device, or every device below a folder. Symlinks are followed. Throws invalidArgument in
 * Docker's words when there is none.
 */
export function grantDevice(mapping: DeviceMapping): DeviceGrant {
  const { PathOnHost, PathInContainer, CgroupPermissions } = mapping;
  const access = CgroupPermissions || "rwm";
  if (!/^[rwm]{1,3}$/.test(access)) {
    throw new EngineError("invalidArgument", `invalid device mode: "${CgroupPermissions}" of device "${PathOnHost}"`);
  }
  const refuse = (why: string) =>
    new EngineError(
      "invalidArgument",
      `error gathering device information while adding custom device "${PathOnHost}": ${why}`,
    );
  const about = statSync(PathOnHost, { throwIfNoEntry: false });
  if (!about) throw refuse("no such file or directory");
  const inside = PathInContainer || PathOnHost;
  const devices = about.isDirectory() ? devicesBelow(PathOnHost, inside) : deviceOf(inside, about);
  if (devices.length === 0) throw refuse("not a device node");
  return {
    devices,
    rules: devices.map(({ type, major, minor }) => ({ allow: true, ...kindOf(type), major, minor, access })),
  };
}

/** Every device of the host's /dev, for a privileged container, which may use any device. */
export function grantAllDevices(): DeviceGrant {
  return { devices: devicesBelow("/dev", "/dev"), rules: [{ allow: true, access: "rwm" }] };
}

function kindOf(type: OciDevice["type"]): { type?: "b" | "c" } {
  return type === "p" ? {} : { type };
}

function devicesBelow(folder: string, inside: string): OciDevice[] {
  const devices: OciDevice[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (skippedNames.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) devices.push(...devicesBelow(path, join(inside, entry.name)));
    // Links are left alone: what they lead to is found under its own name.
    else if (entry.isCharacterDevice() || entry.isBlockDevice()) {
      const about = statSync(path, { throwIfNoEntry: false });
      if (about) devices.push(...deviceOf(join(inside, entry.name), about));
    }
    if (devices.length > maxDevices) {
      throw new EngineError("resourceExhausted", `"${folder}" holds more than ${maxDevices} devices`);
    }
  }
  return devices;
}

function deviceOf(path: string, about: Stats): OciDevice[] {
  const type = about.isCharacterDevice() ? "c" : about.isBlockDevice() ? "b" : undefined;
  if (!type) return [];
  const number = BigInt(about.rdev);
  const major = Number(((number >> 8n) & 0xfffn) | ((number >> 32n) & ~0xfffn));
  const minor = Number((number & 0xffn) | ((number >> 12n) & 0xffffff00n));
  return [{ path, type, major, minor, fileMode: about.mode & 0o777, uid: about.uid, gid: about.gid }];
}

/** `--device-cgroup-rule "c 42:* rwm"`. Throws invalidArgument in Docker's words. */
export function parseDeviceRule(text: string): DeviceRule {
  const match = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text);
  if (!match) throw new EngineError("invalidArgument", `invalid device cgroup rule format: '${text}'`);
  const [, type, major, minor, access = ""] = match;
  return {
    allow: true,
    type: type as "a" | "b" | "c",
    ...(major !== "*" && { major: Number(major) }),
    ...(minor !== "*" && { minor: Number(minor) }),
    access,
  };
}
