import { formatBinarySize, vitrineVersion } from "../../common/index.ts";
import type { Command, Invocation } from "../command.ts";
import { objectFormatFlag } from "../common-flags.ts";
import { print, printError } from "../output.ts";

export const command: Command = {
  usage: "info [OPTIONS]",
  description: "Display system-wide information",
  aliases: ["system info", "info"],
  flags: [objectFormatFlag],
  arguments: { min: 0, max: 0 },
  run: showInfo,
};

type Info = Readonly<Record<string, unknown>>;

async function showInfo({ flags, client }: Invocation): Promise<number> {
  const engine = await client();
  const info = await engine.get<Info>("/info");
  const clientInfo = { Debug: false, Version: vitrineVersion, Context: "default" };
  const format = flags.string("format");
  if (format !== "") {
    const { renderObject } = await import("../render-object.ts");
    print(`${await renderObject(format, { ...info, ClientInfo: clientInfo })}\n`);
    return 0;
  }
  print(`Client:\n Version:    ${vitrineVersion}\n Debug Mode: false\n\nServer:\n${serverLines(info).join("\n")}\n\n`);
  for (const warning of list(info["Warnings"])) printError(`${warning}\n`);
  return 0;
}

function serverLines(info: Info): string[] {
  return [
    ` Containers: ${info["Containers"]}`,
    `  Running: ${info["ContainersRunning"]}`,
    `  Paused: ${info["ContainersPaused"]}`,
    `  Stopped: ${info["ContainersStopped"]}`,
    ` Images: ${info["Images"]}`,
    ...given(" Server Version", info["ServerVersion"]),
    ...given(" Storage Driver", info["Driver"]),
    ...pairs(info["DriverStatus"], "  "),
    ...pairs(info["SystemStatus"], " "),
    ...given(" Logging Driver", info["LoggingDriver"]),
    ...given(" Cgroup Driver", info["CgroupDriver"]),
    ...given(" Cgroup Version", info["CgroupVersion"]),
    ...pluginLines(record(info["Plugins"])),
    ` Swarm: ${record(info["Swarm"])["LocalNodeState"] ?? "inactive"}`,
    ...runtimeLines(info),
    ...securityLines(list(info["SecurityOptions"])),
    ...given(" Kernel Version", info["KernelVersion"]),
    ...given(" Operating System", info["OperatingSystem"]),
    ...given(" OSType", info["OSType"]),
    ...given(" Architecture", info["Architecture"]),
    ` CPUs: ${info["NCPU"]}`,
    ` Total Memory: ${formatBinarySize(Number(info["MemTotal"] ?? 0))}`,
    ...given(" Name", info["Name"]),
    ...given(" ID", info["ID"]),
    ` Root Dir: ${info["DockerRootDir"]}`,
    ` Debug Mode: ${info["Debug"] ?? false}`,
    ...labelLines(list(info["Labels"])),
    ` Experimental: ${info["ExperimentalBuild"] ?? false}`,
    ...registryLines(record(info["RegistryConfig"])),
    ` Live Restore Enabled: ${info["LiveRestoreEnabled"] ?? false}`,
    ...foreignRuleLines(info),
  ];
}

function pluginLines(plugins: Info): string[] {
  const line = (name: string): string => `  ${name}: ${list(plugins[name]).join(" ")}`;
  const authorization = list(plugins["Authorization"]).length > 0 ? [line("Authorization")] : [];
  return [" Plugins:", line("Volume"), line("Network"), ...authorization, line("Log")];
}

function runtimeLines(info: Info): string[] {
  const names = Object.keys(record(info["Runtimes"])).sort();
  const commit = (name: string): unknown => record(info[name])["ID"] ?? "";
  return [
    ...(names.length > 0 ? [` Runtimes: ${names.join(" ")}`, ` Default Runtime: ${info["DefaultRuntime"]}`] : []),
    ` Init Binary: ${info["InitBinary"] ?? ""}`,
    ` containerd version: ${commit("ContainerdCommit")}`,
    ` runc version: ${commit("RuncCommit")}`,
    ` init version: ${commit("InitCommit")}`,
  ];
}

/** Options are texts such as `name=seccomp,profile=builtin`. */
function securityLines(options: readonly string[]): string[] {
  if (options.length === 0) return [];
  const lines = options.flatMap((option) => {
    const parts = option.split(",").map((part) => part.split("="));
    const name = parts.find(([key]) => key === "name")?.[1] ?? option;
    const profile = parts.find(([key]) => key === "profile")?.[1];
    return profile === undefined ? [`  ${name}`] : [`  ${name}`, `   Profile: ${profile}`];
  });
  return [" Security Options:", ...lines];
}

function labelLines(labels: readonly string[]): string[] {
  return labels.length > 0 ? [" Labels:", ...labels.map((label) => `  ${label}`)] : [];
}

function registryLines(registry: Info): string[] {
  const insecure = Object.values(record(registry["IndexConfigs"]))
    .map(record)
    .filter((index) => index["Secure"] === false)
    .map((index) => `  ${index["Name"]}`);
  const ranges = list(registry["InsecureRegistryCIDRs"]).map((range) => `  ${range}`);
  const mirrors = list(registry["Mirrors"]).map((mirror) => `  ${mirror}`);
  return [
    ...(insecure.length + ranges.length > 0 ? [" Insecure Registries:", ...insecure, ...ranges] : []),
    ...(mirrors.length > 0 ? [" Registry Mirrors:", ...mirrors] : []),
  ];
}

/** Vitrine's own: what it changed in firewall tables of others. */
function foreignRuleLines(info: Info): string[] {
  const backend = record(info["FirewallBackend"]);
  if (backend["Driver"] === undefined) return [];
  return [` Firewall Backend: ${backend["Driver"]}`, ...pairs(backend["Info"], "  ")];
}

function given(name: string, value: unknown): string[] {
  return value === undefined || value === null || value === "" ? [] : [`${name}: ${value}`];
}

function pairs(value: unknown, indent: string): string[] {
  return Array.isArray(value) ? value.map(([name, text]: [string, string]) => `${indent}${name}: ${text}`) : [];
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? (value as string[]) : [];
}

function record(value: unknown): Info {
  return typeof value === "object" && value !== null ? (value as Info) : {};
}
