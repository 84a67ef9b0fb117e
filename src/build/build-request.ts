import type { Descriptor, ImageConfig } from "../spec/index.ts";
import type { AttestOptions } from "./attest-options.ts";
import type { AttestedPredicate } from "./attest-result.ts";
import type { CacheSource, CacheTarget } from "./cache-options.ts";
import type { BuildSession } from "./session.ts";

/** Options of the Dockerfile frontend, in BuildKit's meaning; `frontendOptions` reads them from its attributes. */
export interface FrontendOptions {
  /** `filename`: path of the Dockerfile in `dockerfile`'s folder. */
  readonly fileName: string;
  readonly target?: string | undefined;
  /** `build-arg:*`; null takes nothing. */
  readonly arguments: Readonly<Record<string, string | null>>;
  /** `label:*` */
  readonly labels: Readonly<Record<string, string>>;
  /** `no-cache`: all, or names of stages. */
  readonly noCache: boolean | readonly string[];
  /** Several, with commas between them, are built together. */
  readonly platform?: string | undefined;
  /** Of a build that is one of several platforms': its steps' names tell which, and the first alone says what holds for all. */
  readonly ofSeveral?: { readonly isFirst: boolean } | undefined;
  /** `add-hosts`: `name:address` each. */
  readonly addHosts: readonly string[];
  /** `force-network-mode` */
  readonly networkMode: string;
  /** `context:NAME` → `local:NAME`, `docker-image://REFERENCE`, `https://…`, a git URL. */
  readonly contexts: Readonly<Record<string, string>>;
  /** `context` where it is not the session's folder. */
  readonly context?: string | undefined;
  /** `image-resolve-mode=pull`: ask the registry even where the image is here. */
  readonly pull: boolean;
  /** `source-date-epoch` or its build argument: seconds since 1970. */
  readonly sourceDateEpoch?: number | undefined;
  readonly limits: BuildLimits;
  /** `attest:sbom`, `attest:provenance`: what is kept with the image, and goes with it where it is pushed. */
  readonly attest?: AttestOptions | undefined;
}

/** What RUN may use, as HostConfig has it. */
export interface BuildLimits {
  readonly memory?: number;
  readonly memorySwap?: number;
  readonly cpuShares?: number;
  readonly cpuPeriod?: number;
  readonly cpuQuota?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly cgroupParent?: string;
  readonly shmSize?: number;
  readonly ulimits?: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
}

export type Entitlement = "network.host" | "security.insecure";

/** One build. */
export interface BuildRequest {
  readonly session: BuildSession;
  readonly frontend: FrontendOptions;
  /**
   * Whose words the image's config has: `classic` names an image after each step, as Docker's classic builder does; `buildkit` makes
   * one image at the end.
   */
  readonly dialect: "classic" | "buildkit";
  readonly tags: readonly string[];
  /** What RUN may ask for beyond the usual. */
  readonly entitlements: readonly Entitlement[];
  readonly signal?: AbortSignal | undefined;
  /** A RUN that fails leaves an image, whose id is the error's `data.failedImage`, for the client to look into. */
  readonly debug?: boolean | undefined;
  /** In BuildKit's dialect: the result is handed over as files, and no image is made of it. */
  readonly withoutImage?: boolean | undefined;
  /** Names of images that are here, whose histories are a cache: in the classic dialect. */
  readonly cacheImages?: readonly string[] | undefined;
  /** `cache-imports` */
  readonly cacheFrom?: readonly CacheSource[] | undefined;
  readonly cacheTo?: readonly CacheTarget[] | undefined;
}

/** A stage as it ended. */
export interface StageResult {
  readonly index: number;
  readonly name: string | undefined;
  /** chainIDs, lowest first. */
  readonly layers: readonly string[];
  readonly config: ImageConfig;
}

/** What a build was made of, for provenance (SLSA): materials with digests, parameters, times in milliseconds since 1970. */
export interface ProvenanceFacts {
  readonly materials: readonly { readonly uri: string; readonly digest: string }[];
  readonly frontend: FrontendOptions;
  readonly dockerfile: { readonly name: string; readonly text: string };
  readonly startedMs: number;
  readonly finishedMs: number;
}

/** Why a step was cached or not. */
export interface StepReason {
  readonly step: number;
  readonly title: string;
  readonly cached: boolean;
  /** For a miss: what is not as it was in the last build of the same Dockerfile. Empty where there was none. */
  readonly changed: readonly string[];
}

/** What is handed to exporters. */
export interface BuildResult {
  /** Where the build ended in an image of this engine. */
  readonly imageId: string | undefined;
  readonly config: ImageConfig;
  /** chainIDs, lowest first. */
  readonly layers: readonly string[];
  readonly stages: readonly StageResult[];
  readonly reasons: readonly StepReason[];
  readonly provenance: ProvenanceFacts;
  readonly attestations?: readonly AttestedPredicate[] | undefined;
  /** Of each platform, where there are several; what stands beside it is the first's. */
  readonly platforms?: readonly Pick<BuildResult, "imageId" | "config" | "layers" | "attestations">[] | undefined;
  /** Of the index of those, where names stand for it already. */
  readonly index?: Descriptor | undefined;
  /** Of a cache that was written to a folder of the client, who writes the folder's index. */
  readonly cacheManifest?: Descriptor | undefined;
}
