import { formatSize, shortId } from "../../common/index.ts";
import type { Panorama } from "../../spec/index.ts";

/** One box of the picture: a title and rows of name and value. Text and SVG draw the same parts. */
export interface Part {
  readonly title: string;
  readonly kind: "process" | "limits" | "network" | "writable" | "init" | "image";
  readonly rows: readonly (readonly [name: string, value: string])[];
}

/** The picture of a container from the top down: process, limits, network, then its layers as they lie on each other. */
export function panoramaParts(panorama: Panorama): Part[] {
  return [
    processPart(panorama),
    limitsPart(panorama),
    networkPart(panorama),
    writablePart(panorama),
    { title: "init layer (left out by commit)", kind: "init", rows: [["directory", panorama.initLayer.directory]] },
    ...imageParts(panorama),
  ];
}

function processPart({ container, process }: Panorama): Part {
  const title = `${container.Name.replace(/^\//, "")}  ${shortId(container.Id)}  ${container.State.Status}`;
  if (!process) {
    return { title, kind: "process", rows: [["process", `none; exit code ${container.State.ExitCode}`]] };
  }
  const namespaces = Object.entries(process.namespaces).map(
    ([name, { inode, sharedWithHost }]) => [name, `${inode}${sharedWithHost ? "  the host's" : ""}`] as const,
  );
  return {
    title,
    kind: "process",
    rows: [["pid", String(process.pid)], ["command", process.command], ["uid", String(process.uid)], ...namespaces],
  };
}

function limitsPart({ cgroup }: Panorama): Part {
  if (!cgroup) return { title: "control group", kind: "limits", rows: [["group", "none: the container does not run"]] };
  return {
    title: `control group (${cgroup.version})`,
    kind: "limits",
    rows: [...Object.entries(cgroup.directories), ...Object.entries(cgroup.values).flatMap(linesOf)],
  };
}

/** A file of several lines has its name beside the first. */
function linesOf([name, value]: readonly [string, string]): (readonly [string, string])[] {
  return value.split("\n").map((line, index) => [index === 0 ? name : "", line] as const);
}

function networkPart({ container }: Panorama): Part {
  const { NetworkSettings, HostConfig } = container;
  const networks = Object.entries(NetworkSettings.Networks ?? {}).map(
    ([name, settings]) => [name, settings.IPAddress ? `${settings.IPAddress}  ${settings.MacAddress}` : "-"] as const,
  );
  const ports = Object.entries(NetworkSettings.Ports ?? {}).map(([port, bindings]) => {
    const hosts = (bindings ?? []).map(({ HostIp = "", HostPort = "" }) => `${HostIp || "0.0.0.0"}:${HostPort}`);
    return [port, hosts.length > 0 ? `← ${hosts.join(", ")}` : "exposed only"] as const;
  });
  return { title: `network (${HostConfig.NetworkMode ?? "default"})`, kind: "network", rows: [...networks, ...ports] };
}

function writablePart({ container, readWriteLayer }: Panorama): Part {
  const mounts = new Map(container.Mounts.map((mount) => [mount.Destination, mount]));
  const points = new Set([...readWriteLayer.mountPoints, ...mounts.keys()]);
  const volumes = [...points].sort().map((point) => {
    const mount = mounts.get(point);
    const source = mount
      ? `← ${mount.Name || mount.Source} (${mount.Type}${mount.RW ? "" : ", read-only"})`
      : "mount point";
    return [point, source] as const;
  });
  return {
    title: `read-write layer  ${formatSize(readWriteLayer.sizeBytes, 3)}`,
    kind: "writable",
    rows: [["directory", readWriteLayer.directory], ...volumes],
  };
}

function imageParts({ container, imageLayers, imageReferences }: Panorama): Part[] {
  const name = imageReferences.length > 0 ? imageReferences.join(", ") : (container.Config.Image ?? container.Image);
  return imageLayers.map((layer, index) => ({
    title: `image layer ${imageLayers.length - index}  ${formatSize(layer.sizeBytes, 3)}${index === 0 ? `  ${name}` : ""}`,
    kind: "image",
    rows: [
      ["instruction", layer.instruction],
      ["directory", layer.directory],
      ["diff id", layer.diffId],
    ],
  }));
}
