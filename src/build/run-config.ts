import { createHash } from "node:crypto";
import type { ImageRunConfig } from "../spec/index.ts";

/** What an image without one gets; Docker's. */
export const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
export const defaultShell: readonly string[] = ["/bin/sh", "-c"];

export function shellOf(config: ImageRunConfig): readonly string[] {
  return config.Shell && config.Shell.length > 0 ? config.Shell : defaultShell;
}

export function environmentOf(config: ImageRunConfig): Map<string, string> {
  const variables = new Map<string, string>();
  for (const entry of config.Env ?? []) {
    const at = entry.indexOf("=");
    variables.set(at < 0 ? entry : entry.slice(0, at), at < 0 ? "" : entry.slice(at + 1));
  }
  return variables;
}

/** The config that a stage begins with, from the config of its base. */
export function initialRunConfig(base: ImageRunConfig | undefined): ImageRunConfig {
  const config: ImageRunConfig = { ...base, OpenStdin: false, StdinOnce: false };
  if (!environmentOf(config).has("PATH")) config.Env = [...(config.Env ?? []), `PATH=${defaultPath}`];
  return config;
}

/** Members in the order in which Docker writes them, with the empty values it writes. Maps are sorted, as Go does. */
export function orderRunConfig(config: ImageRunConfig): ImageRunConfig {
  const { ExposedPorts, Healthcheck, ArgsEscaped, StopSignal, Shell } = config;
  return {
    Hostname: config.Hostname ?? "",
    Domainname: config.Domainname ?? "",
    User: config.User ?? "",
    AttachStdin: config.AttachStdin ?? false,
    AttachStdout: config.AttachStdout ?? false,
    AttachStderr: config.AttachStderr ?? false,
    ...(ExposedPorts && Object.keys(ExposedPorts).length > 0 ? { ExposedPorts: sortKeys(ExposedPorts) } : {}),
    Tty: config.Tty ?? false,
    OpenStdin: config.OpenStdin ?? false,
    StdinOnce: config.StdinOnce ?? false,
    Env: config.Env ?? null,
    Cmd: config.Cmd ?? null,
    ...(Healthcheck ? { Healthcheck } : {}),
    ...(ArgsEscaped ? { ArgsEscaped } : {}),
    Image: config.Image ?? "",
    Volumes: config.Volumes ? sortKeys(config.Volumes) : null,
    WorkingDir: config.WorkingDir ?? "",
    Entrypoint: config.Entrypoint ?? null,
    OnBuild: config.OnBuild ?? null,
    Labels: config.Labels ? sortKeys(config.Labels) : null,
    ...(StopSignal ? { StopSignal } : {}),
    ...(Shell && Shell.length > 0 ? { Shell } : {}),
    ...otherMembers(config),
  };
}

const known = new Set(
  (
    "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env Cmd " +
    "Healthcheck ArgsEscaped Image Volumes WorkingDir Entrypoint OnBuild Labels StopSignal Shell"
  ).split(" "),
);

/** What a base image's config holds beside that: kept as it is. */
function otherMembers(config: ImageRunConfig): object {
  return Object.fromEntries(Object.entries(config).filter(([name]) => !known.has(name)));
}

function sortKeys<Value>(map: Record<string, Value>): Record<string, Value> {
  return Object.fromEntries(Object.entries(map).toSorted(([left], [right]) => (left < right ? -1 : 1)));
}

/**
 * The content key of a step: the image it starts from, and the config with which its container is made, whose command says
 * what the step does (for COPY and ADD with the digest of the files). Names that differ from run to run are left out.
 * `surroundings` is what the command does not say and its result may depend on.
 */
export function stepKey(parentImageId: string, containerConfig: ImageRunConfig, surroundings = ""): string {
  const { Image: _image, Hostname: _hostname, Domainname: _domain, ...comparable } = orderRunConfig(containerConfig);
  return createHash("sha256")
    .update(JSON.stringify([parentImageId, comparable, surroundings]))
    .digest("hex");
}
