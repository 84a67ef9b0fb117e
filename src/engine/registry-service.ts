import { EngineError } from "../common/index.ts";
import { repositoryClient, type PullOptions } from "../image/index.ts";
import {
  checkCredentials,
  defaultRegistrySettings,
  parsePlatform,
  type Credentials,
  type RegistrySettings,
  type SearchResult,
} from "../registry/index.ts";
import {
  familiarName,
  familiarString,
  isTag,
  parseReference,
  withDefaultTag,
  type Platform,
  type ProgressMessage,
  type Reference,
} from "../spec/index.ts";
import type { DistributionInspect, RegistryManifests, RegistryService } from "./contract.ts";
import type { Core } from "./core.ts";
import { configPlatform, registryManifests, searchImages } from "./registry-queries.ts";

/** What Docker calls its hub in configuration files. */
const hubServer = "https://index.docker.io/v1/";

/** Registries as this engine speaks to them: with its settings, and with whatever credentials the client sends along. */
export class EngineRegistries implements RegistryService {
  readonly #core: Core;
  readonly #settings: RegistrySettings;

  constructor(core: Core) {
    this.#core = core;
    this.#settings = core.options.registries ?? defaultRegistrySettings;
  }

  async *pull(name: string, options: Parameters<RegistryService["pull"]>[1]): AsyncGenerator<ProgressMessage> {
    const { tag, credentials, left } = options;
    const reference = parseReference(tag === undefined ? name : joinTag(name, tag));
    const isWhole = reference.tag !== undefined || reference.digest !== undefined;
    const embedded = familiarString(withDefaultTag(reference));
    if (await this.#core.images.ensureEmbedded(embedded)) {
      yield { status: `Status: Image is made by this engine: ${embedded}` };
      return;
    }
    const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
    if (isWhole) {
      yield* this.#pullOne(reference, { platform, credentials, left });
      return;
    }
    const tags = await repositoryClient(reference, { settings: this.#settings, credentials }).tags();
    if (tags.length === 0) throw new EngineError("notFound", `The repository "${familiarName(reference)}" has no tags`);
    for (const each of tags.filter(isTag)) {
      yield* this.#pullOne({ ...reference, tag: each }, { platform, credentials, left });
    }
  }

  async *push(name: string, options: Parameters<RegistryService["push"]>[1]): AsyncGenerator<ProgressMessage> {
    const { tag, platform, credentials, left } = options;
    const reference = parseReference(tag === undefined ? name : joinTag(name, tag));
    const whole = reference.tag !== undefined || reference.digest !== undefined;
    const names = whole ? [familiarString(reference)] : this.#core.images.tagsOf(name);
    if (names.length === 0) {
      throw new EngineError("notFound", `An image does not exist locally with the tag: ${familiarName(reference)}`);
    }
    for (const each of names) {
      yield* this.#core.images.push(each, { settings: this.#settings, platform, credentials, left });
      this.#publish("push", each);
    }
  }

  async login(request: Credentials & { serverAddress: string }): Promise<{ identityToken?: string }> {
    const domain = domainOfServer(request.serverAddress);
    try {
      const identityToken = await checkCredentials({ domain, settings: this.#settings, credentials: request });
      return identityToken === undefined ? {} : { identityToken };
    } catch (error) {
      // A registry that takes no password from anybody says 401 and so does one that does not take this one.
      if (!(error instanceof EngineError) || error.data["status"] !== 401) throw error;
      throw new EngineError("unauthenticated", `login attempt to ${domain} failed: ${error.message}`, { cause: error });
    }
  }

  search(term: string, options: Parameters<RegistryService["search"]>[1]): Promise<SearchResult[]> {
    const { limit, filters, credentials, left } = options;
    return searchImages(term, { settings: this.#settings, limit, filters, credentials, signal: left });
  }

  manifests(name: string, options: Parameters<RegistryService["manifests"]>[1]): Promise<RegistryManifests> {
    return registryManifests(name, { settings: this.#settings, ...options });
  }

  async distribution(name: string, credentials: Credentials | undefined): Promise<DistributionInspect> {
    const reference = withDefaultTag(parseReference(name));
    const repository = repositoryClient(reference, { settings: this.#settings, credentials });
    const found = await repository.manifest(reference.digest ?? reference.tag ?? "latest");
    const { mediaType, digest, size } = found.descriptor;
    const platforms: Platform[] =
      found.kind === "index"
        ? found.index.manifests.flatMap(({ platform }) => (platform ? [platform] : []))
        : [await configPlatform(repository.blob(found.manifest.config), found.manifest.config.size)];
    return { Descriptor: { mediaType, digest, size }, Platforms: platforms };
  }

  async *#pullOne(
    reference: Reference,
    options: Pick<PullOptions, "platform" | "credentials" | "left">,
  ): AsyncGenerator<ProgressMessage> {
    const name = familiarString(reference);
    yield* this.#core.images.pull(name, { settings: this.#settings, ...options });
    this.#publish("pull", name);
  }

  #publish(action: string, name: string): void {
    const image = this.#core.images.find(name);
    if (image)
      this.#core.events.publish("image", action, {
        id: name,
        attributes: { name: familiarName(parseReference(name)) },
      });
  }
}

/** `tag` may be a digest, as the API has it. */
function joinTag(name: string, tag: string): string {
  return tag.includes(":") ? `${name}@${tag}` : `${name}:${tag}`;
}

/** `https://index.docker.io/v1/`, `localhost:5000`, `https://host/v2/` → the domain of references. */
function domainOfServer(server: string): string {
  if (server === "" || server === hubServer) return "docker.io";
  const domain = server.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return domain === "index.docker.io" ? "docker.io" : parseReference(`${domain}/name`).domain;
}
