import { nilList, nilMap } from "./go-template/index.ts";

// Docker executes `--format` on Go structs: a field that JSON leaves out has its zero value there, and a list or map that is
// null in JSON prints as empty. These are the fields of the inspected objects for which that makes a difference.
const maps = [
  "Labels",
  "Volumes",
  "ExposedPorts",
  "Options",
  "PortBindings",
  "Ports",
  "Networks",
  "DriverOpts",
  "Sysctls",
  "Tmpfs",
  "StorageOpt",
  "Annotations",
  "Containers",
  "Data",
];
const lists = [
  "Env",
  "Cmd",
  "Entrypoint",
  "OnBuild",
  "Shell",
  "Args",
  "Binds",
  "Mounts",
  "CapAdd",
  "CapDrop",
  "Dns",
  "DnsOptions",
  "DnsSearch",
  "ExtraHosts",
  "GroupAdd",
  "Links",
  "SecurityOpt",
  "VolumesFrom",
  "Devices",
  "DeviceCgroupRules",
  "DeviceRequests",
  "Ulimits",
  "Aliases",
  "DNSNames",
  "ExecIDs",
  "RepoTags",
  "RepoDigests",
  "Layers",
  "Log",
  "MaskedPaths",
  "ReadonlyPaths",
  "BlkioDeviceReadBps",
  "BlkioDeviceWriteBps",
  "BlkioDeviceReadIOps",
  "BlkioDeviceWriteIOps",
  "BlkioWeightDevice",
];
const pointers = [
  "Health",
  "Healthcheck",
  "Init",
  "MemorySwappiness",
  "OomKillDisable",
  "PidsLimit",
  "StopTimeout",
  "IPAMConfig",
  "UsageData",
  "SizeRw",
  "SizeRootFs",
];
const texts = ["StopSignal", "MacAddress", "Variant", "Container", "CgroupnsMode", "Runtime", "User", "WorkingDir"];

const zeroValues: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ...maps.map((name) => [name, nilMap] as const),
  ...lists.map((name) => [name, nilList] as const),
  ...pointers.map((name) => [name, null] as const),
  ...texts.map((name) => [name, ""] as const),
]);

/** The zero value of a field of an inspected object; undefined when nothing is known of it. */
export function inspectZeroValue(name: string): unknown {
  return zeroValues.get(name);
}
