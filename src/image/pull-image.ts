import { EngineError, shortId } from "../common/index.ts";
import type { Lease } from "../content/index.ts";
import {
  choosePlatform,
  hostPlatform,
  RepositoryClient,
  requireForeignAllowed,
  type Credentials,
  type ParsedManifest,
  type RegistrySettings,
} from "../registry/index.ts";
import {
  familiarName,
  familiarString,
  repositoryName,
  type Descriptor,
  type ImageConfig,
  type Manifest,
  type Platform,
  type ProgressMessage,
  type Reference,
} from "../spec/index.ts";
import { chainIdsOf } from "./chain-ids.ts";
import { collectBlobs } from "./collect-images.ts";
import { createImage } from "./create-image.ts";
import { maxConfigBytes, parseImageConfig } from "./image-config.ts";
import { imageOfReference } from "./image-lookup.ts";
import { membersMeant } from "./image-platform.ts";
import type { ImageServices } from "./image-record.ts";
import { pullAttached } from "./pull-attached.ts";
import { fetchLayers } from "./pull-layers.ts";
import { releaseLayers } from "./layer-release.ts";

const maxIndexDepth = 4;

export interface PullOptions {
  readonly settings: RegistrySettings;
  readonly credentials?: Credentials | undefined;
  /** The host's when absent. An image of no index that is for another platform is then taken as it is, as Docker does. */
  readonly platform?: Platform | undefined;
  /** Aborts when the client that asked is gone. */
  readonly left?: AbortSignal | undefined;
}

export interface PullWork extends PullOptions {
  readonly tell: (message: ProgressMessage) => void;
  readonly signal: AbortSignal;
}

/** What one pull is made of. */
export interface Pull extends PullWork {
  readonly services: ImageServices;
  readonly repository: RepositoryClient;
  readonly lease: Lease;
}

/** Client of the repository that a reference names. Of docker.io it is asked for what Docker asks. */
export function repositoryClient(
  reference: Reference,
  options: PullOptions & { signal?: AbortSignal; actions?: "pull" | "pull,push" },
): RepositoryClient {
  const { settings, credentials, signal, actions = "pull" } = options;
  return new RepositoryClient({
    domain: reference.domain,
    path: reference.path,
    settings,
    credentials,
    signal,
    actions,
  });
}

/**
 * Pulls one image, by tag or digest. Layers come all at once, and each is unpacked as soon as it and those below it are here. The
 * record is written last; a pull that fails or is given up leaves nothing.
 */
export async function pullImage(services: ImageServices, reference: Reference, work: PullWork): Promise<void> {
  const name = familiarString(reference);
  const wanted = reference.digest ?? reference.tag ?? "latest";
  const repository = repositoryClient(reference, work);
  try {
    using lease = services.content.lease(`pull ${name}`);
    const pull: Pull = { ...work, services, repository, lease };
    const top = await resolve(repository, { reference, wanted });
    work.tell({ status: `Pulling from ${reference.path}`, id: wanted });
    const main = imageOfReference(services.table, reference);
    const before = main === undefined ? [] : [main, ...membersMeant(services.table, name).map((each) => each.imageId)];
    const id = await pullManifest(pull, { reference, top });
    work.tell({ status: `Digest: ${top.descriptor.digest}` });
    const state = before.includes(id) ? "Image is up to date for" : "Downloaded newer image for";
    work.tell({ status: `Status: ${state} ${name}` });
  } finally {
    await collectBlobs(services);
  }
}

/** The registry's refusal in the words that Docker's clients know. */
async function resolve(
  repository: RepositoryClient,
  { reference, wanted }: { reference: Reference; wanted: string },
): Promise<ParsedManifest> {
  try {
    return await repository.manifest(wanted);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const { status, errorCode } = error.data;
    if (errorCode === "DENIED" || errorCode === "UNAUTHORIZED" || status === 403) {
      const why = `pull access denied for ${familiarName(reference)}, repository does not exist or may require 'docker login'`;
      throw new EngineError("notFound", `${why}: ${error.message}`, { cause: error });
    }
    if (status === 404)
      throw new EngineError("notFound", `manifest for ${familiarString(reference)} not found: ${error.message}`, {
        cause: error,
      });
    throw error;
  }
}

async function pullManifest(
  pull: Pull,
  { reference, top }: { reference: Reference; top: ParsedManifest },
): Promise<string> {
  const { services, lease, repository } = pull;
  const chosen = await imageManifest(pull, top);
  for (const each of [...chosen.indexes, chosen]) await keepBytes(pull, each);
  const { manifest, indexes } = chosen;
  requireForeignAllowed(manifest.layers, pull.settings);
  await services.content.ingest(bounded(repository.blob(manifest.config), manifest.config), {
    mediaType: manifest.config.mediaType,
    expected: manifest.config,
    lease,
  });
  const configBytes = services.content.readBytes(manifest.config.digest, maxConfigBytes);
  const config = checkedConfig(pull, { bytes: configBytes, manifest, reference });
  const chainIds = chainIdsOf(config.rootfs.diff_ids);
  using hold = services.holds.hold("pull");
  let made = false;
  try {
    for (const chainId of chainIds) hold.add(chainId);
    const blobs = await fetchLayers(pull, { layers: manifest.layers, diffIds: config.rootfs.diff_ids, chainIds });
    const attached = await pullAttached(pull, { index: indexes.at(-1)?.index, to: chosen.descriptor.digest });
    pull.signal.throwIfAborted();
    const record = await createImage(services, configBytes, {
      layers: chainIds,
      blobs,
      ...(reference.digest === undefined
        ? { reference: `${repositoryName(reference)}:${reference.tag ?? "latest"}` }
        : {}),
      source: {
        repository: repositoryName(reference),
        digest: top.descriptor.digest,
        manifest: chosen.descriptor,
        layers: manifest.layers,
      },
      ...(indexes.length > 0
        ? {
            indexed: {
              indexes: indexes.map(({ descriptor }) => descriptor),
              manifest: chosen.descriptor,
              platform: chosen.platform ?? { os: config.os, architecture: config.architecture },
              attached,
            },
          }
        : {}),
    });
    made = true;
    return record.id;
  } finally {
    if (!made) {
      hold[Symbol.dispose]();
      await releaseLayers(services, chainIds.toReversed());
    }
  }
}

type ChosenManifest = ParsedManifest & { kind: "image" } & {
  /** That led to it, the outermost first. */
  readonly indexes: readonly (ParsedManifest & { kind: "index" })[];
  /** As the innermost index says. */
  readonly platform: Platform | undefined;
};

/** Follows indexes to the image for the platform. */
async function imageManifest(pull: Pull, top: ParsedManifest): Promise<ChosenManifest> {
  let found = top;
  let platform: Platform | undefined;
  const indexes: (ParsedManifest & { kind: "index" })[] = [];
  for (let depth = 0; found.kind === "index"; depth++) {
    if (depth >= maxIndexDepth) {
      throw new EngineError("invalidArgument", `The image's indexes are nested more than ${maxIndexDepth} deep`);
    }
    indexes.push(found);
    const entry: Descriptor = choosePlatform(found.index, pull.platform ?? hostPlatform());
    const next: ParsedManifest = await pull.repository.manifest(entry.digest);
    if (next.descriptor.size !== entry.size) {
      throw new EngineError(
        "invalidArgument",
        `The manifest "${entry.digest}" has ${next.descriptor.size} bytes, not ${entry.size} as the index says`,
      );
    }
    found = next;
    platform = entry.platform;
  }
  return { ...found, indexes, platform };
}

async function keepBytes({ services, lease }: Pull, { bytes, descriptor }: ParsedManifest): Promise<void> {
  await services.content.ingestBytes(bytes, { mediaType: descriptor.mediaType, lease });
}

function checkedConfig(
  { platform }: Pull,
  { bytes, manifest, reference }: { bytes: Uint8Array; manifest: Manifest; reference: Reference },
): ImageConfig {
  const config = parseImageConfig(bytes);
  if (config.os !== "linux") {
    throw new EngineError("unsupported", `image operating system "${config.os}" cannot be used on this platform`);
  }
  const { length } = config.rootfs.diff_ids;
  if (length !== manifest.layers.length) {
    throw new EngineError(
      "invalidArgument",
      `The image config names ${length} layers, and its manifest ${manifest.layers.length}`,
    );
  }
  if (platform && (platform.os !== config.os || platform.architecture !== config.architecture)) {
    throw new EngineError(
      "notFound",
      `image with reference ${familiarString(reference)} was found but does not match the specified platform: wanted ${platform.os}/${platform.architecture}, actual: ${config.os}/${config.architecture}`,
    );
  }
  return config;
}

/** A config is read whole into memory: its declared size is bounded before a byte of it is asked for. */
function bounded(stream: AsyncIterable<Uint8Array>, { size }: Descriptor): AsyncIterable<Uint8Array> {
  if (size <= maxConfigBytes) return stream;
  throw new EngineError("resourceExhausted", `The image config has ${size} bytes, and ${maxConfigBytes} is the limit`);
}

/** What a layer is called in progress lines. */
export function layerName({ digest }: { digest: string }): string {
  return shortId(digest);
}
