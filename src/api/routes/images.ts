import { EngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import { parsePlatform } from "../../registry/index.ts";
import type { ImageInspect, ImageSummary, Platform, ProgressMessage } from "../../spec/index.ts";
import { empty, json, jsonLines, stream } from "../reply.ts";
import type { ApiRequest } from "../request.ts";
import type { Routes } from "../router.ts";
import { credentialsOf } from "./registries.ts";

export function imageRoutes(engine: Engine): Routes {
  const { images } = engine;
  return {
    "GET /images/json": async (request) => {
      const list = await images.list({
        all: request.flag("all"),
        filters: request.filters(),
        digests: request.flag("digests"),
        sharedSize: request.flag("shared-size"),
        manifests: !request.isOlderThan("1.47") && request.flag("manifests"),
      });
      const known = request.isOlderThan("1.48") ? list.map(withoutDescriptor) : list;
      return json(request.isOlderThan("1.43") ? known.map(withPlaceholders) : known);
    },
    "GET /images/{name:image}/json": async (request) => {
      const platform = request.isOlderThan("1.49") ? undefined : platformOf(request);
      const manifests = !request.isOlderThan("1.48") && request.flag("manifests");
      if (platform && manifests) {
        throw new EngineError(
          "invalidArgument",
          "conflicting options: manifests and platform options cannot both be set",
        );
      }
      const options = { ...(platform ? { platform } : {}), manifests };
      const image = await images.inspect(request.parameter("name"), options);
      return json(request.isOlderThan("1.48") ? withoutDescriptor(image) : image);
    },
    "GET /images/{name:image}/history": async (request) =>
      json(await images.history(request.parameter("name"), platformOf(request))),
    "POST /images/{name:image}/tag": async (request) => {
      const repository = request.text("repo");
      if (repository === undefined)
        throw new EngineError("invalidArgument", "repository name must have at least one component");
      await images.tag(request.parameter("name"), { repository, tag: request.text("tag") ?? "latest" });
      return empty(201);
    },
    "DELETE /images/{name:image}": async (request) =>
      json(
        await images.remove(request.parameter("name"), {
          force: request.flag("force"),
          noPrune: request.flag("noprune"),
          platforms: request.query.getAll("platforms").flatMap(platformsIn),
        }),
      ),
    "POST /images/create": async (request) => jsonLines(withErrors(create(engine, request))),
    "POST /images/load": async (request) =>
      jsonLines(
        withErrors(images.load(request.body, { quiet: request.flag("quiet"), ...withPlatform(platformOf(request)) })),
      ),
    "GET /images/{name:image}/get": async (request) =>
      stream("application/x-tar", await images.save([request.parameter("name")], platformOf(request))),
    "GET /images/get": async (request) => {
      const names = request.query.getAll("names");
      if (names.length === 0) throw new EngineError("invalidArgument", "An image to save must be named");
      return stream("application/x-tar", await images.save(names, platformOf(request)));
    },
    "POST /images/prune": async (request) => {
      const { deleted, spaceReclaimed } = await images.prune(request.filters());
      return json({ ImagesDeleted: deleted.length > 0 ? deleted : null, SpaceReclaimed: spaceReclaimed });
    },
    "POST /vitrine/images/from-host": async (request) => {
      const reference = request.text("reference");
      if (reference === undefined) throw new EngineError("invalidArgument", "The new image needs a name (reference)");
      return jsonLines(withErrors(images.fromHost(reference, request.query.getAll("program"))));
    },
  };
}

/** `platform` is an object of OCI in JSON; `os/architecture[/variant]` is taken too. Undefined when it is not asked for. */
export function platformOf(request: ApiRequest): Platform | undefined {
  const all = request.query.getAll("platform").flatMap(platformsIn);
  if (all.length > 1) throw new EngineError("invalidArgument", "Only one platform can be asked for at a time");
  return all[0];
}

export function withPlatform(platform: Platform | undefined): { platform?: Platform } {
  return platform ? { platform } : {};
}

/** One platform, or a JSON list of them; nothing for an empty text. */
function platformsIn(text: string): Platform[] {
  if (text === "") return [];
  if (!/^[{["]/.test(text)) return [parsePlatform(text)];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new EngineError("invalidArgument", `The platform "${text}" is no JSON`, { cause });
  }
  return (Array.isArray(value) ? value : [value]).flatMap((each: unknown) => {
    if (typeof each === "string") return platformsIn(each);
    const { os, architecture, variant } = (each ?? {}) as Record<string, unknown>;
    if (typeof os !== "string" || typeof architecture !== "string" || os === "" || architecture === "") {
      throw new EngineError("invalidArgument", `The platform ${JSON.stringify(each)} has no os and architecture`);
    }
    return [{ os, architecture, ...(typeof variant === "string" && variant !== "" ? { variant } : {}) }];
  });
}

function withoutDescriptor<T extends ImageSummary | ImageInspect>(image: T): T {
  const { Descriptor: _, ...rest } = image;
  return rest as T;
}

/** Before API 1.43 an image without a name was listed under these, and older clients show nothing else. */
function withPlaceholders(image: ImageSummary): ImageSummary {
  if (image.RepoTags.length > 0 || image.RepoDigests.length > 0) return image;
  return { ...image, RepoTags: ["<none>:<none>"], RepoDigests: ["<none>@<none>"] };
}

/** `POST /images/create` is both import (`fromSrc`) and pull (`fromImage`). */
function create(engine: Engine, request: ApiRequest): AsyncIterable<ProgressMessage> {
  const source = request.text("fromSrc");
  if (source === undefined) return pull(engine, request);
  if (source !== "-")
    throw new EngineError("unsupported", `Cannot import from "${source}": only a stream (-) is read; fetch it first`);
  const repository = request.text("repo");
  const tag = request.text("tag");
  return engine.images.import(request.body, {
    changes: request.query.getAll("changes"),
    message: request.text("message") ?? `Imported from ${source}`,
    ...(repository === undefined ? {} : { reference: tag === undefined ? repository : `${repository}:${tag}` }),
  });
}

function pull(engine: Engine, request: ApiRequest): AsyncIterable<ProgressMessage> {
  const tag = request.text("tag");
  const platform = request.text("platform");
  return engine.registries.pull(request.text("fromImage") ?? "", {
    ...(tag === undefined ? {} : { tag }),
    ...(platform === undefined ? {} : { platform }),
    credentials: credentialsOf(request),
    left: request.signal,
  });
}

/** After the first byte a failure can only be told as a last line, in the shape of Docker's jsonmessage. */
export async function* withErrors(messages: AsyncIterable<ProgressMessage>): AsyncGenerator<ProgressMessage> {
  let begun = false;
  try {
    for await (const message of messages) {
      begun = true;
      yield message;
    }
  } catch (error) {
    if (!begun) throw error;
    const message = error instanceof Error ? error.message : String(error);
    const code = error instanceof EngineError ? error.data.exitCode : undefined;
    yield { errorDetail: { ...(typeof code === "number" ? { code } : {}), message }, error: message };
  }
}
