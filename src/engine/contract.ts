// What the engine offers to its edges (api/, lens/): the service decides, the edge decodes and encodes.
import type {
  BuildEvent,
  BuildRequest,
  BuildResult,
  BuildSession,
  CheckAnswer,
  CheckRequest,
  ClassicBuildRequest,
  Exported,
  ExportRequest,
  PruneOptions,
  StepReason,
} from "../build/index.ts";
import type { SearchResult } from "../registry/index.ts";
import type {
  CacheUsage,
  CheckReport,
  ContainerConfig,
  ContainerCreateRequest,
  ContainerInspect,
  ContainerSummary,
  Descriptor,
  EventMessage,
  ExecCreateRequest,
  ExecInspect,
  ImageConfig,
  ImageHistoryItem,
  ImageInspect,
  ImageSummary,
  NetworkResource,
  Panorama,
  Plan,
  Platform,
  ProgressMessage,
  Resources,
  TracedOp,
  Volume,
} from "../spec/index.ts";

/** Options of `POST /build`, decoded. */
export type { ClassicBuildRequest };

/** Filters of list calls: name → values, as the API's `filters` after decoding both of its JSON forms. */
export type Filters = ReadonlyMap<string, readonly string[]>;

/** One piece of a container's output; `in` is used for input echoes nowhere. `time` is RFC 3339 with nanoseconds. */
export interface OutputChunk {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
  readonly time?: string;
}

/** A two-way connection to a container's or exec's stdio. Dispose it when the client is gone. */
export interface StdioSession extends Disposable {
  /** Whether it is a terminal: then output is raw and all of it stdout. */
  readonly tty: boolean;
  /** Ends when the process has closed its output or the container has stopped. Pull-driven: a slow reader loses nothing. */
  readonly output: AsyncIterable<OutputChunk>;
  /** Resolves when more may be written: back-pressure. After the process ended it resolves and drops. */
  write(data: Uint8Array): Promise<void>;
  /** The client has no more input (half-close). */
  closeInput(): void;
}

export interface AttachOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Replay what was logged before. */
  readonly logs: boolean;
  /** Follow from now on. */
  readonly stream: boolean;
}

export interface LogOptions {
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly follow: boolean;
  /** Unix seconds, fractions allowed. */
  readonly since?: number;
  readonly until?: number;
  /** Last lines only; undefined: all. */
  readonly tail?: number;
}

export interface ListContainersOptions {
  readonly all: boolean;
  readonly limit?: number;
  readonly size: boolean;
  readonly filters: Filters;
}

export type WaitCondition = "not-running" | "next-exit" | "removed";

export interface ContainerUpdate extends Resources {
  RestartPolicy?: { Name?: string; MaximumRetryCount?: number };
}

export interface PathStat {
  readonly name: string;
  readonly size: number;
  /** Go's fs.FileMode bits, as Docker's X-Docker-Container-Path-Stat carries them. */
  readonly mode: number;
  readonly mtime: string;
  readonly linkTarget: string;
}

export interface ContainerService {
  /** With a platform (`linux/amd64`): of that image among those that the name stands for; throws notFound when it is not here. */
  create(
    name: string | undefined,
    request: ContainerCreateRequest,
    options?: { platform?: string },
  ): Promise<{ id: string; warnings: string[] }>;
  start(idOrName: string, options?: { consoleSize?: readonly [height: number, width: number] }): Promise<void>;
  /** `timeoutSeconds` undefined: the container's own (10 by default); -1: for ever. Throws notModified when stopped. */
  stop(idOrName: string, options: { signal?: string; timeoutSeconds?: number }): Promise<void>;
  restart(idOrName: string, options: { signal?: string; timeoutSeconds?: number }): Promise<void>;
  kill(idOrName: string, signal: string): Promise<void>;
  pause(idOrName: string): Promise<void>;
  unpause(idOrName: string): Promise<void>;
  rename(idOrName: string, name: string): Promise<void>;
  update(idOrName: string, update: ContainerUpdate): Promise<{ warnings: string[] }>;
  /** Resolves once the condition is met. The promise this returns settles at once; the inner one is the wait. */
  wait(
    idOrName: string,
    condition: WaitCondition,
    signal?: AbortSignal,
  ): Promise<{ result: Promise<{ exitCode: number; error?: string }> }>;
  remove(idOrName: string, options: { force: boolean; volumes: boolean }): Promise<void>;
  prune(filters: Filters): Promise<{ deleted: string[]; spaceReclaimed: number }>;
  list(options: ListContainersOptions): Promise<ContainerSummary[]>;
  inspect(idOrName: string, options?: { size?: boolean }): Promise<ContainerInspect>;
  attach(idOrName: string, options: AttachOptions): Promise<StdioSession>;
  resize(idOrName: string, size: { rows: number; columns: number }): Promise<void>;
  /** Log records as they were written. `tty` tells the edge whether to multiplex. */
  logs(
    idOrName: string,
    options: LogOptions,
    signal?: AbortSignal,
  ): Promise<{ tty: boolean; records: AsyncIterable<OutputChunk> }>;
  top(idOrName: string, psArguments: readonly string[]): Promise<{ Titles: string[]; Processes: string[][] }>;
  /** Docker's stats objects, one a second when `stream`; `oneShot` leaves the pre-read out. */
  stats(idOrName: string, options: { stream: boolean; oneShot: boolean }, signal?: AbortSignal): AsyncIterable<unknown>;
  changes(idOrName: string): Promise<{ Path: string; Kind: 0 | 1 | 2 }[]>;
  export(idOrName: string): Promise<AsyncIterable<Uint8Array>>;
  statPath(idOrName: string, path: string): Promise<PathStat>;
  readArchive(idOrName: string, path: string): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }>;
  writeArchive(
    idOrName: string,
    path: string,
    tar: AsyncIterable<Uint8Array>,
    options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
  ): Promise<void>;
  /** The plan that a container of this request would start with; nothing is made. */
  explain(request: ContainerCreateRequest): Promise<{ plan: Plan; ops: readonly TracedOp[] }>;
  /** The plan with which it starts or was started. */
  plan(idOrName: string): Promise<{ plan: Plan; ops: readonly TracedOp[] }>;
}

export interface ExecService {
  create(container: string, request: ExecCreateRequest): Promise<string>;
  /** Starts it; detached without a session. */
  start(
    id: string,
    options: { detach: boolean; consoleSize?: readonly [height: number, width: number] },
  ): Promise<StdioSession | undefined>;
  resize(id: string, size: { rows: number; columns: number }): Promise<void>;
  inspect(id: string): Promise<ExecInspect>;
}

/** A `platform` picks one of the images that a name of an index stands for, and throws notFound when it is not here. */
export interface ImageService {
  /** `manifests`: with every entry of an image's index. */
  list(options: {
    all: boolean;
    filters: Filters;
    digests: boolean;
    sharedSize: boolean;
    manifests?: boolean;
  }): Promise<ImageSummary[]>;
  inspect(reference: string, options?: { platform?: Platform; manifests?: boolean }): Promise<ImageInspect>;
  history(reference: string, platform?: Platform): Promise<ImageHistoryItem[]>;
  /** An image's layers, top first, each with the instruction that made it. */
  layers(reference: string): Promise<Panorama["imageLayers"]>;
  tag(source: string, target: { repository: string; tag: string }): Promise<void>;
  /** With platforms: those alone of what the name stands for. */
  remove(
    reference: string,
    options: { force: boolean; noPrune: boolean; platforms?: readonly Platform[] },
  ): Promise<({ Untagged: string } | { Deleted: string })[]>;
  import(
    tar: AsyncIterable<Uint8Array>,
    options: { reference?: string; changes: readonly string[]; message: string },
  ): AsyncIterable<ProgressMessage>;
  load(
    archive: AsyncIterable<Uint8Array>,
    options: { quiet: boolean; platform?: Platform },
  ): AsyncIterable<ProgressMessage>;
  save(references: readonly string[], platform?: Platform): Promise<AsyncIterable<Uint8Array>>;
  /** Makes an image of programs of the host and the libraries that they need. */
  fromHost(reference: string, programs: readonly string[]): AsyncIterable<ProgressMessage>;
  prune(filters: Filters): Promise<{ deleted: ({ Untagged: string } | { Deleted: string })[]; spaceReclaimed: number }>;
}

/** Options of `POST /commit`, decoded. */
export interface CommitOptions {
  /** A tag for the image: `name:tag`. */
  readonly reference?: string;
  readonly author: string;
  readonly comment: string;
  /** Dockerfile instructions that change the config, in order. */
  readonly changes: readonly string[];
  /** Whether the container stands still meanwhile. */
  readonly pause: boolean;
  /** Stands in for the container's own config; what it leaves open is the container's. */
  readonly config?: ContainerConfig;
}

/** Who a client is to a registry. `identityToken` is a refresh token, `registryToken` a bearer token. */
export interface RegistryCredentials {
  readonly username?: string;
  readonly password?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}

/** The body of `GET /distribution/{name}/json`. */
export interface DistributionInspect {
  readonly Descriptor: Descriptor;
  readonly Platforms: readonly Platform[];
}

/** A manifest in a registry; `Raw` is its bytes in base64. `Descriptor.platform` is its index's or its config's word. */
export interface RegistryManifest {
  readonly Ref: string;
  readonly Descriptor: Descriptor;
  readonly Raw: string;
}

export interface RegistryManifests {
  readonly Index?: RegistryManifest;
  readonly Manifests: readonly RegistryManifest[];
}

/** `left` aborts when the client that asked is gone: then the work ends, unless others wait for it too. */
export interface RegistryService {
  /** Without a tag in either place: every tag of the repository. Images that the engine makes itself need no registry. */
  pull(
    name: string,
    options: { tag?: string; platform?: string; credentials: RegistryCredentials | undefined; left?: AbortSignal },
  ): AsyncIterable<ProgressMessage>;
  /** Without a tag: every tag of the name that is here. */
  push(
    name: string,
    options: {
      tag?: string;
      platform?: Platform;
      credentials: RegistryCredentials | undefined;
      left?: AbortSignal;
    },
  ): AsyncIterable<ProgressMessage>;
  /** Throws `unauthenticated` when the registry does not take them. The answer's token stands for the password, where one was given. */
  login(request: RegistryCredentials & { serverAddress: string }): Promise<{ identityToken?: string }>;
  /** `is-official`, `is-automated` and `stars` are its filters; at most 100 results. */
  search(
    term: string,
    options: { limit?: number; filters: Filters; credentials: RegistryCredentials | undefined; left?: AbortSignal },
  ): Promise<SearchResult[]>;
  /** A name's manifest as the registry has it, with those of an index. `insecure`: plain HTTP and unknown certificates are taken. */
  manifests(
    name: string,
    options: { credentials: RegistryCredentials | undefined; insecure: boolean },
  ): Promise<RegistryManifests>;
  distribution(name: string, credentials: RegistryCredentials | undefined): Promise<DistributionInspect>;
}

export interface VolumeService {
  list(filters: Filters): Promise<Volume[]>;
  inspect(name: string): Promise<Volume>;
  create(request: {
    Name?: string;
    Driver?: string;
    DriverOpts?: Record<string, string> | null;
    Labels?: Record<string, string> | null;
  }): Promise<Volume>;
  remove(name: string, options: { force: boolean }): Promise<void>;
  prune(filters: Filters): Promise<{ deleted: string[]; spaceReclaimed: number }>;
}

export interface NetworkQueries {
  list(filters: Filters): Promise<NetworkResource[]>;
  inspect(idOrName: string): Promise<NetworkResource>;
  /** Removes what no container is on; the networks that everyone has are never pruned, and there are no others yet. Filters: `label`, `until`. */
  prune(filters: Filters): Promise<string[]>;
}

export interface SystemService {
  /** Verifies blobs, layers, images, records and folders; with `repair` mends what can be mended by itself. */
  check(options: { repair: boolean }): Promise<CheckReport>;
  /** The body of `GET /info`, whole. */
  info(): Promise<Record<string, unknown>>;
  /** The body of `GET /version`, but for the API versions, which the edge adds. */
  version(): Promise<Record<string, unknown>>;
  diskUsage(): Promise<Record<string, unknown>>;
  /** Past events since `since` (Unix seconds), then live ones until `until`, `signal`, or for ever. */
  events(
    options: { since?: number; until?: number; filters: Filters },
    signal?: AbortSignal,
  ): AsyncIterable<EventMessage>;
}

/** An image that a build may start from. */
export interface BuildImage {
  readonly name: string;
  /** Of its manifest where a registry told it, else of its config. */
  readonly digest: string;
  readonly config: ImageConfig;
}

export interface BuildService {
  /** A build as the classic endpoint tells it. Throws as it goes: see `Builder.solve`. */
  build(request: ClassicBuildRequest): AsyncIterable<ProgressMessage>;
  /** The same of a session's folders. */
  buildFrom(
    session: BuildSession,
    request: Omit<ClassicBuildRequest, "context" | "credentials">,
  ): AsyncIterable<ProgressMessage>;
  /** A build as events; the generator returns what it left. */
  solve(request: BuildRequest): AsyncGenerator<BuildEvent, BuildResult>;
  /** The image of a FROM, pulled where it is missing, or with `pull`. Throws as a build's FROM does. */
  resolveImage(
    reference: string,
    options: { readonly session: BuildSession; readonly pull: boolean; readonly signal: AbortSignal },
  ): Promise<BuildImage>;
  /** Hands a result over; see `exportResult`. What it answers is told to the build's client. */
  export(result: Exported, request: ExportRequest): Promise<ReadonlyMap<string, string>>;
  /** The files of a result, mounted until disposal; see `openExportedTree`. */
  openTree(
    result: Exported,
    request: Pick<ExportRequest, "options" | "attestations">,
  ): Promise<AsyncDisposable & { readonly root: string }>;
  /** Why each step of the build that ended in an image was cached or not. Throws notFound for one that was not built here. */
  why(reference: string): Promise<readonly StepReason[]>;
  /** What the cache keeps, the least recently used first. */
  usage(filters?: PruneOptions["filters"]): CacheUsage[];
  /** Forgets what the cache keeps, and removes images of steps that have no name and that nothing stands on. */
  prune(options: PruneOptions): Promise<{ deleted: string[]; spaceReclaimed: number }>;
}

export interface Engine extends AsyncDisposable {
  readonly containers: ContainerService;
  readonly execs: ExecService;
  readonly images: ImageService;
  readonly registries: RegistryService;
  readonly volumes: VolumeService;
  readonly networks: NetworkQueries;
  readonly system: SystemService;
  /** Where the engine keeps what lasts, and what does not survive a restart: absolute paths. */
  readonly folders: { readonly root: string; readonly run: string };
  readonly builds: BuildService;
  /** Docker's build checks on a Dockerfile, against the base images that are here. Nothing is built or pulled. */
  checkBuild(request: CheckRequest): CheckAnswer;
  /** Makes an image of a container; answers its id. */
  commit(idOrName: string, options: CommitOptions): Promise<string>;
}
