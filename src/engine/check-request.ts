import { isAbsolute } from "node:path";
import { EngineError } from "../common/index.ts";
import { parsePort, requestedPorts } from "../network/index.ts";
import {
  availableCapabilities,
  parseDeviceRule,
  parseSecurityOptions,
  resolveCapabilities,
  resolveRlimits,
} from "../runtime/index.ts";
import type { ContainerCreateRequest, EndpointConfig, HostConfig, LogConfig } from "../spec/index.ts";
import { parseLogSize } from "./container-spec.ts";
import { parseSignal } from "./signals.ts";

/** Refuses at creation, as Docker does, what could else fail only at the start: modes, names, numbers and lists. Pure. */
export function checkRequest(request: ContainerCreateRequest): void {
  const host = request.HostConfig ?? {};
  checkModes(host);
  checkNumbers(host);
  checkLists(host);
  checkLogConfig(host.LogConfig);
  checkPorts(request, host);
  checkEndpoints(request.NetworkingConfig?.EndpointsConfig ?? {}, host.NetworkMode ?? "");
  if (request.StopSignal) parseSignal(request.StopSignal);
  checkMacAddress(request.MacAddress);
}

function invalid(message: string): never {
  throw new EngineError("invalidArgument", message);
}

function checkModes({
  IpcMode: ipc = "",
  PidMode: pid = "",
  UTSMode: uts = "",
  CgroupParent: parent = "",
}: HostConfig): void {
  const joins = (mode: string): boolean => /^container:./.test(mode);
  if (!["", "none", "private", "shareable", "host"].includes(ipc) && !joins(ipc)) invalid(`invalid IPC mode: ${ipc}`);
  if (!["", "private", "host"].includes(pid) && !joins(pid)) invalid(`invalid PID mode: ${pid}`);
  if (!["", "private", "host"].includes(uts)) invalid(`invalid UTS mode: ${uts}`);
  if (parent.split("/").some((part) => part === ".." || part === ".") || parent.includes("\0")) {
    invalid(`invalid cgroup parent "${parent}": it must not lead out of the hierarchy`);
  }
}

const cpuList = /^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$/;

function checkNumbers(host: HostConfig): void {
  const { OomScoreAdj: score = 0, ShmSize: shm = 0, CpusetCpus: cpus = "", CpusetMems: memories = "" } = host;
  if (score < -1000 || score > 1000) invalid(`Invalid value ${score}, range for oom score adj is [-1000, 1000]`);
  if (shm < 0) invalid("SHM size can not be less than 0");
  if (cpus !== "" && !cpuList.test(cpus)) invalid(`Invalid value ${cpus} for cpuset cpus`);
  if (memories !== "" && !cpuList.test(memories)) invalid(`Invalid value ${memories} for cpuset mems`);
}

function checkLists(host: HostConfig): void {
  parseSecurityOptions(host.SecurityOpt ?? []);
  resolveRlimits(host.Ulimits ?? []);
  for (const rule of host.DeviceCgroupRules ?? []) parseDeviceRule(rule);
  resolveCapabilities({
    add: host.CapAdd ?? [],
    drop: host.CapDrop ?? [],
    privileged: host.Privileged ?? false,
    available: availableCapabilities(),
  });
  for (const path of [...(host.MaskedPaths ?? []), ...(host.ReadonlyPaths ?? [])]) {
    if (!isAbsolute(path)) invalid(`masked or read-only path "${path}" is not absolute`);
  }
}

/** Options of Docker's json-file and local drivers that this engine's log does not have. */
const unbuiltLogOptions = ["compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"];

function checkLogConfig(log: LogConfig | undefined): void {
  for (const [name, value] of Object.entries(log?.Config ?? {})) {
    if (name === "max-size") {
      if (value !== "-1" && parseLogSize(value) <= 0) invalid(`invalid value for max-size: "${value}"`);
    } else if (name === "max-file") {
      if (!/^[1-9]\d{0,3}$/.test(value)) invalid(`max-file "${value}" is not a number from 1 to 9999`);
    } else if (unbuiltLogOptions.includes(name)) {
      throw new EngineError("unsupported", `The log option "${name}" (--log-opt) is not built yet`);
    } else {
      invalid(`unknown log opt '${name}' for ${log?.Type || "json-file"} log driver`);
    }
  }
}

function checkPorts(request: ContainerCreateRequest, host: HostConfig): void {
  const exposedPorts = Object.keys(request.ExposedPorts ?? {});
  for (const port of exposedPorts) parsePort(port);
  requestedPorts({ portBindings: host.PortBindings ?? {}, exposedPorts: [], publishAll: false });
}

function checkEndpoints(endpoints: Readonly<Record<string, EndpointConfig | null>>, networkMode: string): void {
  const mode = networkMode === "" || networkMode === "default" ? "bridge" : networkMode;
  const names = Object.keys(endpoints);
  if (names.length > 1)
    throw new EngineError(
      "unsupported",
      `Connecting a container to several networks (${names.join(", ")}) is not built yet`,
    );
  for (const [name, endpoint] of Object.entries(endpoints)) {
    if (name !== mode && !(name === "default" && mode === "bridge")) {
      invalid(`conflicting options: the endpoint "${name}" is not on the container's network "${mode}"`);
    }
    if (endpoint) checkEndpoint(name, endpoint);
  }
}

function checkEndpoint(name: string, endpoint: EndpointConfig): void {
  checkMacAddress(endpoint.MacAddress);
  if ((endpoint.Aliases?.length ?? 0) > 0)
    invalid("network-scoped alias is supported only for containers in user defined networks");
  const unbuilt: readonly (readonly [field: string, isSet: boolean])[] = [
    ["Links", (endpoint.Links?.length ?? 0) > 0],
    ["DriverOpts", Object.keys(endpoint.DriverOpts ?? {}).length > 0],
    ["IPAMConfig.IPv6Address (--ip6)", Boolean(endpoint.IPAMConfig?.IPv6Address)],
    ["IPAMConfig.LinkLocalIPs (--link-local-ip)", (endpoint.IPAMConfig?.LinkLocalIPs?.length ?? 0) > 0],
  ];
  for (const [field, isSet] of unbuilt) {
    if (isSet) throw new EngineError("unsupported", `EndpointsConfig.${name}.${field} is not built yet`);
  }
}

function checkMacAddress(address: string | undefined): void {
  if (address && !/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(address)) invalid(`invalid MAC address: ${address}`);
}
