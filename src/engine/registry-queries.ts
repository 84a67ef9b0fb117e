import { EngineError } from "../common/index.ts";
import { repositoryClient } from "../image/index.ts";
import {
  hostPlatform,
  searchRegistry,
  type Credentials,
  type ParsedManifest,
  type RegistrySettings,
  type SearchResult,
} from "../registry/index.ts";
import { parseReference, repositoryName, withDefaultTag, type Platform } from "../spec/index.ts";
import type { Filters, RegistryManifest, RegistryManifests } from "./contract.ts";
import { requireKnownFilters } from "./known-filters.ts";

const maxConfigBytes = 8 * 1024 * 1024;
const usualSearchLimit = 25;
const maxSearchLimit = 100;

/** See `RegistryService.search`. */
export async function searchImages(
  term: string,
  options: {
    settings: RegistrySettings;
    limit: number | undefined;
    filters: Filters;
    credentials: Credentials | undefined;
    signal: AbortSignal | undefined;
  },
): Promise<SearchResult[]> {
  const { filters, limit } = options;
  requireKnownFilters(filters, ["is-automated", "is-official", "stars"]);
  const isOfficial = truth(filters, "is-official");
  const isAutomated = truth(filters, "is-automated");
  const stars = Math.max(0, ...(filters.get("stars") ?? []).map(starsOf));
  if (limit !== undefined && !(limit >= 0 && limit <= maxSearchLimit)) {
    throw new EngineError("invalidArgument", `limit ${limit} is outside the range of [1, ${maxSearchLimit}]`);
  }
  // No image is automated any more: nothing needs to be asked.
  if (isAutomated) return [];
  const found = await searchRegistry({ ...options, term, limit: limit || usualSearchLimit });
  return found.filter(
    (result) => (isOfficial === undefined || result.is_official === isOfficial) && result.star_count >= stars,
  );
}

function truth(filters: Filters, name: string): boolean | undefined {
  const [text] = filters.get(name) ?? [];
  if (text === undefined) return undefined;
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)$/i.test(text)) return false;
  throw new EngineError("invalidArgument", `invalid filter '${name}=${text}'`);
}

function starsOf(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new EngineError("invalidArgument", `invalid filter 'stars=${text}'`);
}

/** See `RegistryService.manifests`. */
export async function registryManifests(
  name: string,
  options: { settings: RegistrySettings; credentials: Credentials | undefined; insecure: boolean },
): Promise<RegistryManifests> {
  const reference = withDefaultTag(parseReference(name));
  const { settings, credentials, insecure } = options;
  const { insecureRegistries } = settings;
  const repository = repositoryClient(reference, {
    settings: insecure ? { ...settings, insecureRegistries: [...insecureRegistries, reference.domain] } : settings,
    credentials,
  });
  const top = await repository.manifest(reference.digest ?? reference.tag ?? "latest");
  const place = repositoryName(reference);
  const ref = reference.digest === undefined ? `${place}:${reference.tag}` : `${place}@${reference.digest}`;
  if (top.kind === "image") {
    const platform = await configPlatform(repository.blob(top.manifest.config), top.manifest.config.size);
    return { Manifests: [described(top, { ref, platform })] };
  }
  const Manifests: RegistryManifest[] = [];
  for (const { digest, mediaType, platform } of top.index.manifests) {
    const { bytes } = await repository.manifestBytes(digest);
    const descriptor = { mediaType, digest, size: bytes.length };
    Manifests.push(described({ descriptor, bytes }, { ref: `${ref}@${digest}`, platform }));
  }
  return { Index: described(top, { ref, platform: undefined }), Manifests };
}

function described(
  { descriptor, bytes }: Pick<ParsedManifest, "descriptor" | "bytes">,
  { ref, platform }: { ref: string; platform: Platform | undefined },
): RegistryManifest {
  return {
    Ref: ref,
    Descriptor: { ...descriptor, ...(platform ? { platform } : {}) },
    Raw: Buffer.from(bytes).toString("base64"),
  };
}

/** The platform that a config names; this machine's where it names none. `sizeBytes` is its declared size. */
export async function configPlatform(blob: AsyncIterable<Uint8Array>, sizeBytes: number): Promise<Platform> {
  if (sizeBytes > maxConfigBytes) {
    throw new EngineError(
      "resourceExhausted",
      `The image config has ${sizeBytes} bytes, and ${maxConfigBytes} is the limit`,
    );
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of blob) chunks.push(chunk);
  const { os, architecture, variant } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Partial<Platform>;
  return {
    ...hostPlatform(),
    ...(architecture ? { architecture } : {}),
    ...(os ? { os } : {}),
    ...(variant ? { variant } : {}),
  };
}
