import type { ImageInspect, ImageRunConfig } from "../spec/index.ts";
import { imageDescriptor, imageManifests } from "./image-manifests.ts";
import type { ImageRecord, ImageServices, ImageUsers } from "./image-record.ts";

export interface InspectOptions {
  /** Digest of the index that the name stood for. */
  readonly index?: string | undefined;
  /** Fill in `Manifests`. */
  readonly manifests?: boolean;
  readonly usedBy?: ImageUsers | undefined;
}

/** The members that API versions 1.24 to 1.51 know. */
export function inspectImage(
  services: ImageServices,
  image: ImageRecord,
  { index, manifests = false, usedBy }: InspectOptions,
): ImageInspect {
  const { snapshots } = services;
  const { config } = image;
  const shown = { image, index, usedBy };
  const descriptor = imageDescriptor(services, shown);
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
    ...(descriptor ? { Descriptor: descriptor } : {}),
    ...(manifests ? { Manifests: imageManifests(services, shown) } : {}),
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
