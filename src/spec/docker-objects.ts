// Wire types of the Docker Engine API (v1.51) for what is not a container: images, volumes, networks, events, progress.
// Times are RFC 3339 text with nanoseconds, sizes bytes, unless said otherwise.
import type { GraphDriver } from "./docker.ts";
import type { Descriptor, Platform } from "./descriptor.ts";
import type { ImageRunConfig } from "./image-config.ts";

/** One entry of an index, as `?manifests=1` shows it (API 1.47). Sizes in bytes. `Available`: all its blobs are here. */
export interface ImageManifestSummary {
  ID: string;
  Descriptor: Descriptor;
  Available: boolean;
  Size: { Content: number; Total: number };
  Kind: "image" | "attestation" | "unknown";
  ImageData?: { Platform: Platform; Size: { Unpacked: number }; Containers: string[] };
  AttestationData?: { For: string };
}

/** One entry of `GET /images/json`; `Created` in Unix seconds. */
export interface ImageSummary {
  Id: string;
  ParentId: string;
  RepoTags: string[];
  RepoDigests: string[];
  Created: number;
  Size: number;
  SharedSize: number;
  VirtualSize?: number;
  Labels: Record<string, string> | null;
  Containers: number;
  /** Of the index or manifest that the image came by; since API 1.48. */
  Descriptor?: Descriptor;
  Manifests?: ImageManifestSummary[];
}

export interface ImageInspect {
  Id: string;
  RepoTags: string[];
  RepoDigests: string[];
  Parent: string;
  Comment: string;
  Created: string;
  Container?: string;
  ContainerConfig?: ImageRunConfig;
  DockerVersion: string;
  Author: string;
  Config: ImageRunConfig;
  Architecture: string;
  Variant?: string;
  Os: string;
  Size: number;
  VirtualSize?: number;
  GraphDriver: GraphDriver;
  RootFS: { Type: "layers"; Layers?: string[] };
  Metadata: { LastTagTime: string };
  Descriptor?: Descriptor;
  Manifests?: ImageManifestSummary[];
}

/** One entry of `GET /images/{name}/history`, newest first; `Created` in Unix seconds. */
export interface ImageHistoryItem {
  Id: string;
  Created: number;
  CreatedBy: string;
  Tags: string[] | null;
  Size: number;
  Comment: string;
}

export interface Volume {
  Name: string;
  Driver: string;
  Mountpoint: string;
  CreatedAt?: string;
  Labels: Record<string, string> | null;
  Scope: "local" | "global";
  Options: Record<string, string> | null;
  UsageData?: { Size: number; RefCount: number } | null;
}

export interface NetworkResource {
  Name: string;
  Id: string;
  Created: string;
  Scope: string;
  Driver: string;
  EnableIPv6: boolean;
  IPAM: {
    Driver: string;
    Options: Record<string, string> | null;
    Config: { Subnet?: string; Gateway?: string; IPRange?: string }[];
  };
  Internal: boolean;
  Attachable: boolean;
  Ingress: boolean;
  ConfigFrom: { Network: string };
  ConfigOnly: boolean;
  Containers: Record<
    string,
    { Name: string; EndpointID: string; MacAddress: string; IPv4Address: string; IPv6Address: string }
  >;
  Options: Record<string, string>;
  Labels: Record<string, string>;
}

/** `time` in Unix seconds, `timeNano` in nanoseconds (a JSON number, so rounded to 2^53 like every JavaScript peer sees it). */
export interface EventMessage {
  status?: string;
  id?: string;
  from?: string;
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  scope: "local";
  time: number;
  timeNano: number;
}

/** One thing that the cache of builds keeps, as `GET /system/df` tells it. */
export interface CacheUsage {
  readonly ID: string;
  readonly Type: "regular" | "exec.cachemount";
  readonly Description: string;
  readonly InUse: boolean;
  /** Whether an image has the same layers. */
  readonly Shared: boolean;
  readonly Size: number;
  readonly CreatedAt: string;
  readonly LastUsedAt: string;
  readonly UsageCount: number;
}

/** Id of the message that tells of a failed step's image, `{Image, Message, Code}`, in a build of `debug=1`. */
export const failedStepId = "vitrine.failed-step";

/** A line of the JSON streams of build, load, import, pull and push. */
export interface ProgressMessage {
  stream?: string;
  status?: string;
  id?: string;
  progress?: string;
  progressDetail?: { current?: number; total?: number };
  errorDetail?: { code?: number; message: string };
  error?: string;
  aux?: unknown;
}
