import type { ImageRunConfig } from "../spec/index.ts";

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
