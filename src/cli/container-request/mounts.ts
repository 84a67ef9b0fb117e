import { resolve } from "node:path";
import { parseSize } from "../../common/index.ts";
import type { MountRequest } from "../../spec/index.ts";
import { UsageError } from "../usage-error.ts";
import { parseBool } from "../flag-values.ts";
import { readCsvRecord } from "./csv.ts";

const flagsWithoutValue = new Set(["readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"]);

/** `--mount type=bind,source=/a,target=/b,readonly`; the type is volume by default. Throws UsageError in docker's words. */
export function parseMount(text: string): MountRequest {
  const value = text.trim();
  if (value === "") throw new UsageError("value is empty");
  const mount: MountRequest = { Type: "volume", Target: "" };
  for (const field of readCsvRecord(value)) setField(mount, field);
  if (mount.Target === "") throw new UsageError("target is required");
  checkOptions(mount);
  return mount;
}

function setField(mount: MountRequest, field: string): void {
  const equals = field.indexOf("=");
  const written = equals < 0 ? field : field.slice(0, equals);
  const value = equals < 0 ? "" : field.slice(equals + 1);
  const key = written.toLowerCase();
  if (written.trim() !== written) {
    throw new UsageError(`invalid option '${written.trim()}' in '${field}': option should not have whitespace`);
  }
  if (equals >= 0 && value.trim() === "") throw new UsageError(`invalid value for '${written}': value is empty`);
  if (equals < 0 && !flagsWithoutValue.has(key)) {
    throw new UsageError(`invalid field '${field}' must be a key=value pair`);
  }
  const truth = (): boolean => {
    const parsed = equals < 0 ? true : parseBool(value);
    if (parsed === undefined) throw new UsageError(`invalid value for ${key}: ${value}`);
    return parsed;
  };
  if (!setPlace(mount, { key, value, truth }) && !setOption(mount, { key, value, truth })) {
    throw new UsageError(`unexpected key '${key}' in '${field}'`);
  }
}

interface Setting {
  readonly key: string;
  readonly value: string;
  readonly truth: () => boolean;
}

function setPlace(mount: MountRequest, { key, value, truth }: Setting): boolean {
  switch (key) {
    case "type":
      mount.Type = value.toLowerCase() as MountRequest["Type"];
      return true;
    case "source":
    case "src":
      mount.Source = value.startsWith(".") ? resolve(value) : value;
      return true;
    case "target":
    case "dst":
    case "destination":
      mount.Target = value;
      return true;
    case "readonly":
    case "ro":
      mount.ReadOnly = truth();
      return true;
    case "consistency":
      mount.Consistency = value.toLowerCase();
      return true;
    default:
      return false;
  }
}

function setOption(mount: MountRequest, { key, value, truth }: Setting): boolean {
  const volume = (): NonNullable<MountRequest["VolumeOptions"]> => (mount.VolumeOptions ??= {});
  const bind = (): NonNullable<MountRequest["BindOptions"]> => (mount.BindOptions ??= {});
  switch (key) {
    case "bind-propagation":
      bind().Propagation = value.toLowerCase();
      return true;
    case "bind-nonrecursive":
      bind().NonRecursive = truth();
      return true;
    case "bind-recursive":
      if (value === "disabled") bind().NonRecursive = true;
      else if (value !== "enabled") {
        throw new UsageError(
          `invalid value for ${key}: ${value} (must be "enabled" or "disabled"; others are not built yet)`,
        );
      }
      return true;
    case "bind-create-src":
      bind().CreateMountpoint = truth();
      return true;
    case "volume-subpath":
      volume().Subpath = value;
      return true;
    case "volume-nocopy":
      volume().NoCopy = truth();
      return true;
    case "volume-label":
      setPair((volume().Labels ??= {}), value);
      return true;
    case "volume-driver":
      (volume().DriverConfig ??= {}).Name = value;
      return true;
    case "volume-opt":
      setPair(((volume().DriverConfig ??= {}).Options ??= {}), value);
      return true;
    case "tmpfs-size":
      (mount.TmpfsOptions ??= {}).SizeBytes = readSize(key, value);
      return true;
    case "tmpfs-mode":
      if (!/^[0-7]{1,11}$/.test(value)) throw new UsageError(`invalid value for ${key}: ${value}`);
      (mount.TmpfsOptions ??= {}).Mode = parseInt(value, 8);
      return true;
    default:
      return false;
  }
}

function setPair(map: Record<string, string>, text: string): void {
  const equals = text.indexOf("=");
  map[equals < 0 ? text : text.slice(0, equals)] = equals < 0 ? "" : text.slice(equals + 1);
}

function readSize(key: string, value: string): number {
  try {
    return parseSize(value);
  } catch {
    throw new UsageError(`invalid value for ${key}: ${value}`);
  }
}

function checkOptions(mount: MountRequest): void {
  const mixed = (options: string): UsageError =>
    new UsageError(`cannot mix '${options}' options with mount type '${mount.Type}'`);
  if (mount.VolumeOptions && mount.Type !== "volume") throw mixed("volume-*");
  if (mount.BindOptions && mount.Type !== "bind") throw mixed("bind-*");
  if (mount.TmpfsOptions && mount.Type !== "tmpfs") throw mixed("tmpfs-*");
}
