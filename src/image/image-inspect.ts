import type { ImageInspect, ImageRunConfig } from "../spec/index.ts";
import type { ImageRecord, ImageServices } from "./image-record.ts";

/** The members that API versions 1.24 to 1.51 know. */
export function inspectImage({ snapshots }: ImageServices, image: ImageRecord): ImageInspect {
  const { config } = image;
  const diffIds = [...config.rootfs.diff_ids];
  return {
    Id: image.id,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Parent: image.parent,
    Comment: config.comment || (config.history?.at(-1)?.comment ?? ""),
    Created: image.createdAt,
    Container: config.container ?? "",
    ContainerConfig: completeRunConfig(config.container_config),
    DockerVersion: config.docker_version ?? "",
    Author: config.author ?? "",
    Config: completeRunConfig(config.config),
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: image.sizeBytes,
    VirtualSize: image.sizeBytes,
    GraphDriver:
      image.chainId === undefined ? { Name: snapshots.name, Data: null } : snapshots.graphDriver(image.chainId),
    RootFS: { Type: "layers", ...(diffIds.length > 0 ? { Layers: diffIds } : {}) },
    Metadata: { LastTagTime: image.lastTagTime },
  };
}

/** Docker's server writes these members whether they are set or not; templates of clients rely on it. */
function completeRunConfig(config: ImageRunConfig | null | undefined): ImageRunConfig {
  return {
    Hostname: "",
    Domainname: "",
    User: "",
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Env: null,
    Cmd: null,
    Image: "",
    Volumes: null,
    WorkingDir: "",
    Entrypoint: null,
    OnBuild: null,
    Labels: null,
    ...config,
  };
}
