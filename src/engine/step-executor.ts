import type { CachePlace, Executor, ExecutorStep, ResolveBaseOptions, StepMount } from "../build/index.ts";
import { EngineError, toEngineError } from "../common/index.ts";
import { repositoryClient, type ImageRecord } from "../image/index.ts";
import { defaultRegistrySettings, parsePlatform, platformText } from "../registry/index.ts";
import { parseReference, withDefaultTag, type HostConfig, type Platform } from "../spec/index.ts";
import { completeHostConfig } from "./container-request.ts";
import { newRunState, type ContainerMount, type ContainerRecord } from "./container-record.ts";
import { discardContainerDirectory } from "./container-creation.ts";
import { giveBack } from "./container-exit.ts";
import type { RegistryService } from "./contract.ts";
import type { Core } from "./core.ts";
import { launch } from "./launch.ts";
import { openMonitorSession } from "./monitor-session.ts";
import { unmountRun } from "./mounted-snapshot.ts";

/** Runs a build's commands: the same plan as a container's on the step's snapshot, without a record of its own. */
export class StepExecutor implements Executor {
  readonly #givingBack = new Set<Promise<void>>();

  constructor(
    private readonly core: Core,
    private readonly registries: RegistryService,
  ) {}

  async resolveBase(reference: string, options: ResolveBaseOptions): Promise<ImageRecord> {
    const { images } = this.core;
    const isEmbedded = await images.ensureEmbedded(reference);
    const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
    const found = platform ? findFor(images, reference, platform) : images.find(reference);
    if (found && (isEmbedded || !options.pull)) return found;
    // An id is nobody's name in a registry.
    if (found && /^(sha256:)?[0-9a-f]{12,64}$/.test(reference)) return found;
    const { session, signal, onProgress } = options;
    const { domain } = withDefaultTag(parseReference(reference));
    const credentials = await session.credentials(domain);
    const asked = { credentials, left: signal, ...(platform ? { platform: platformText(platform) } : {}) };
    for await (const { status, error } of this.registries.pull(reference, asked)) {
      if (error !== undefined) throw new EngineError("unavailable", error);
      if (status !== undefined && !/^(Pulling fs|Waiting|Download|Verif|Extract|Pull complete)/.test(status)) {
        onProgress(status);
      }
    }
    return platform ? images.getFor(reference, platform) : images.get(reference);
  }

  async cacheRepository(
    name: string,
    { session, signal, actions }: Parameters<Executor["cacheRepository"]>[1],
  ): Promise<CachePlace> {
    const reference = withDefaultTag(parseReference(name));
    const credentials = await session.credentials(reference.domain);
    const settings = this.core.options.registries ?? defaultRegistrySettings;
    const repository = repositoryClient(reference, { settings, credentials, signal, actions });
    const wanted = reference.digest ?? reference.tag ?? "latest";
    return {
      manifest: async () => (await repository.manifestBytes(wanted)).bytes,
      blob: (blob, left) => repository.blob(blob, { signal: left }),
      has: (digest) => repository.hasBlob(digest),
      put: (blob, open) => repository.uploadBlob(blob, open),
      putManifest: async (bytes, descriptor) => void (await repository.putManifest(wanted, { bytes, descriptor })),
    };
  }

  async run(step: ExecutorStep, onOutput: Parameters<Executor["run"]>[1]): Promise<{ exitCode: number }> {
    const { core } = this;
    const record = stepRecord(core, step);
    let isLaunched = false;
    try {
      const { start } = await launch(core, record);
      isLaunched = true;
      try {
        using session = await openMonitorSession(core.paths.monitorSocket(record.id), {
          stdin: false,
          stdout: true,
          stderr: true,
          tty: false,
        });
        await start.go();
        const stop = (): void => void start.connection.signal(killSignal).catch(() => {});
        step.signal?.addEventListener("abort", stop, { once: true });
        if (step.signal?.aborted) stop();
        for await (const chunk of session.output) await onOutput(chunk);
        step.signal?.removeEventListener("abort", stop);
        const exit = await start.connection.exited;
        await start.connection.closed;
        return { exitCode: exit?.exitCode ?? 137 };
      } catch (error) {
        await start.abort();
        throw error;
      } finally {
        await unmountRun(core, record, { monitorIsGone: false });
      }
    } finally {
      this.#giveBackSoon(record, isLaunched);
    }
  }

  /** The next step starts meanwhile; whoever has its network's link taken down waits for the kernel. */
  #giveBackSoon(record: ContainerRecord, isLaunched: boolean): void {
    const { core } = this;
    const work = (async () => {
      await Bun.sleep(giveBackAfterMs);
      if (isLaunched) await giveBack(core, record, { monitorIsGone: false, isUnmounted: true });
      await discardContainerDirectory(core, record.id);
    })()
      .catch((error: unknown) => core.options.log("warning", toEngineError(error).message))
      .finally(() => this.#givingBack.delete(work));
    this.#givingBack.add(work);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#givingBack);
  }
}

/** Undefined where nothing of that platform is here under the name. */
function findFor(images: Core["images"], reference: string, platform: Platform): ImageRecord | undefined {
  try {
    return images.getFor(reference, platform);
  } catch (error) {
    if (error instanceof EngineError && error.code === "notFound") return undefined;
    throw error;
  }
}

const killSignal = 9;
/** About what it takes the next step to be waiting for its command. */
const giveBackAfterMs = 10;

function stepRecord(core: Core, step: ExecutorStep): ContainerRecord {
  const [path = "", ...args] = step.command;
  const cgroupnsDefault = core.cgroups.support.version === "v2" ? "private" : "host";
  return {
    id: step.id,
    name: step.id.slice(0, 12),
    createdAt: new Date().toISOString(),
    imageId: "",
    config: { ...step.config, Hostname: step.id.slice(0, 12) },
    host: completeHostConfig(hostConfig(step), { cgroupnsDefault }),
    endpoints: {},
    path,
    args,
    mounts: step.mounts.map(containerMount),
    state: newRunState(),
    network: undefined,
    restartCount: 0,
  };
}

function hostConfig({ networkMode, hosts, limits, privileged }: ExecutorStep): HostConfig {
  const { memory, memorySwap, cpuShares, cpuPeriod, cpuQuota, cpusetCpus, cpusetMems, shmSize, ulimits } = limits;
  const { cgroupParent } = limits;
  return {
    NetworkMode: networkMode,
    // Without a log the output waits for its reader: nothing of it can be lost, and no file is left behind.
    LogConfig: { Type: "none" },
    ExtraHosts: [...hosts],
    Privileged: privileged,
    ...(memory === undefined ? {} : { Memory: memory }),
    ...(memorySwap === undefined ? {} : { MemorySwap: memorySwap }),
    ...(cpuShares === undefined ? {} : { CpuShares: cpuShares }),
    ...(cpuPeriod === undefined ? {} : { CpuPeriod: cpuPeriod }),
    ...(cpuQuota === undefined ? {} : { CpuQuota: cpuQuota }),
    ...(cpusetCpus === undefined ? {} : { CpusetCpus: cpusetCpus }),
    ...(cpusetMems === undefined ? {} : { CpusetMems: cpusetMems }),
    ...(cgroupParent === undefined ? {} : { CgroupParent: cgroupParent }),
    ...(shmSize === undefined ? {} : { ShmSize: shmSize }),
    ...(ulimits === undefined ? {} : { Ulimits: [...ulimits] }),
  };
}

function containerMount(mount: StepMount): ContainerMount {
  const common = { Destination: mount.target, Mode: "", RW: mount.writable, anonymous: false };
  if (mount.type === "tmpfs") {
    const size = mount.sizeBytes === undefined ? [] : [`size=${mount.sizeBytes}`];
    // As BuildKit's: programs may be run there.
    const options = ["exec", ...size, ...(mount.writable ? [] : ["ro"])];
    return { ...common, Type: "tmpfs", Source: "", Propagation: "", file: false, options };
  }
  const { source, isFile } = mount;
  return { ...common, Type: "bind", Source: source, Propagation: "rprivate", file: isFile, options: ["nonrecursive"] };
}
