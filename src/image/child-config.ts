import type { HistoryEntry, ImageConfig, ImageRunConfig } from "../spec/index.ts";
import { orderRunConfig } from "./run-config-order.ts";

/** What an image made of a container adds to the image that the container was made of. */
export interface ChildImage {
  /** RFC 3339. */
  readonly created: string;
  readonly author: string;
  readonly comment: string;
  readonly containerId: string;
  /** The container's own config, whose command is what the history tells. */
  readonly containerConfig: ImageRunConfig;
  /** How to run the new image. */
  readonly config: ImageRunConfig;
  /** Of the new layer; undefined when the container changed no file. */
  readonly diffId: string | undefined;
}

/** The bytes of a child image's config as `docker commit` writes them: members sorted by name (moby's image.NewChildImage). */
export function encodeChildConfig(parent: ImageConfig, child: ChildImage): Uint8Array {
  const { created, author, comment, diffId } = child;
  const entry: HistoryEntry = {
    created,
    ...(author === "" ? {} : { author }),
    created_by: (child.containerConfig.Cmd ?? []).join(" "),
    ...(comment === "" ? {} : { comment }),
    ...(diffId === undefined ? { empty_layer: true } : {}),
  };
  const diffIds = parent.rootfs.diff_ids;
  const config: ImageConfig = {
    architecture: parent.architecture,
    ...(author === "" ? {} : { author }),
    config: orderRunConfig(child.config),
    container: child.containerId,
    container_config: orderRunConfig(child.containerConfig),
    created,
    history: [...(parent.history ?? []), entry],
    os: parent.os,
    rootfs: { type: "layers", diff_ids: diffId === undefined ? diffIds : [...diffIds, diffId] },
    ...(parent.variant === undefined ? {} : { variant: parent.variant }),
  };
  return Buffer.from(JSON.stringify(config));
}
