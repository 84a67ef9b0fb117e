// What a client's Solve asks for, checked: a thing that is not built is refused by its name.
import { EngineError } from "../../common/index.ts";
import { familiarString, parseReference, withDefaultTag } from "../../spec/index.ts";
import type { CacheOptions, Exporter, SolveRequest } from "./control-messages.ts";

/** Where a result goes. `id` is the exporter's place in the client's list, by which the client knows its end. */
export interface Output {
  readonly id: number;
  readonly type: "image" | "tar" | "local" | "docker" | "oci";
  readonly attributes: ReadonlyMap<string, string>;
}

const outputTypes: Readonly<Record<string, Output["type"]>> = {
  moby: "image",
  image: "image",
};

export function outputsOf(request: SolveRequest): Output[] {
  const named: readonly Exporter[] =
    request.exporters.length > 0
      ? request.exporters
      : request.exporterDeprecated === ""
        ? []
        : [{ type: request.exporterDeprecated, attrs: request.exporterAttrsDeprecated }];
  return named.map(({ type, attrs }, id) => {
    const own = Object.hasOwn(outputTypes, type) ? outputTypes[type] : undefined;
    if (own === undefined) throw new EngineError("unsupported", `exporter "${type}" is not built yet`);
    if (own === "image") refuseImageAttributes(attrs);
    return { id, type: own, attributes: attrs };
  });
}

/** Attributes of the image exporter that change nothing here, or are read. */
const imageAttributes = new Set([
  "name",
  "push",
  "unpack",
  "store",
  "compression",
  "oci-mediatypes",
  "rewrite-timestamp",
]);
const off = new Set(["", "false", "0"]);

function refuseImageAttributes(attributes: ReadonlyMap<string, string>): void {
  for (const [name, value] of attributes) {
    const harmless = name === "name" || off.has(value) || (["unpack", "store"].includes(name) && value === "true");
    if (!imageAttributes.has(name) || !harmless) {
      throw new EngineError("unsupported", `exporter attribute ${name}=${value} is not built yet`);
    }
  }
}

/** Names of the image, with their tags. */
export function tagsOf(outputs: readonly Output[]): string[] {
  return outputs
    .flatMap(({ type, attributes }) =>
      type === "image" ? (attributes.get("name") ?? "").split(",").filter((name) => name !== "") : [],
    )
    .map((name) => familiarString(withDefaultTag(parseReference(name))));
}

/** Caches in registries and folders; without any there is nothing to refuse. */
export function refuseCaches(cache: CacheOptions | undefined): void {
  const exports = cache?.exports.map(({ type }) => type) ?? [];
  const imports = cache?.imports.map(({ type }) => type) ?? [];
  if (cache && cache.exportRefDeprecated !== "") exports.push("registry");
  if (exports.length > 0)
    throw new EngineError("unsupported", `cache export of type "${exports.join('", "')}" is not built yet`);
  if (imports.length > 0 || (cache?.importRefsDeprecated.length ?? 0) > 0) {
    throw new EngineError(
      "unsupported",
      `cache import of type "${imports.join('", "') || "registry"}" is not built yet`,
    );
  }
}
