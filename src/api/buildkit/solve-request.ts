// What a client's Solve asks for, checked: a thing that is not built is refused by its name.
import {
  cacheSource,
  cacheTarget,
  exporterOptions,
  type CacheSource,
  type CacheTarget,
  type ExporterOptions,
} from "../../build/index.ts";
import { EngineError } from "../../common/index.ts";
import type { CacheOptions, Exporter, SolveRequest } from "./control-messages.ts";

/** Where a result goes. `id` is the exporter's place in the client's list, by which the client knows its end. */
export interface Output {
  readonly id: number;
  readonly options: ExporterOptions;
}

/** The engine's own images go by another name in dockerd. */
const types: Readonly<Record<string, ExporterOptions["type"]>> = {
  moby: "image",
  image: "image",
  local: "local",
  tar: "tar",
  docker: "docker",
  oci: "oci",
};

export function outputsOf(request: SolveRequest): Output[] {
  const named: readonly Exporter[] =
    request.exporters.length > 0
      ? request.exporters
      : request.exporterDeprecated === ""
        ? []
        : [{ type: request.exporterDeprecated, attrs: request.exporterAttrsDeprecated }];
  return named.map(({ type, attrs }, id) => {
    const own = Object.hasOwn(types, type) ? types[type] : undefined;
    if (own === undefined) throw new EngineError("unsupported", `exporter "${type}" is not built`);
    return { id, options: exporterOptions({ type: own, attributes: Object.fromEntries(attrs) }) };
  });
}

/** Where a build's cache is read from and written to. Throws unsupported, by name, for a kind that is not built. */
export function cachesOf(cache: CacheOptions | undefined): { cacheFrom: CacheSource[]; cacheTo: CacheTarget[] } {
  const registry = (ref: string): Exporter => ({ type: "registry", attrs: new Map([["ref", ref]]) });
  const exports = [...(cache?.exports ?? [])];
  if (cache && cache.exportRefDeprecated !== "") exports.push(registry(cache.exportRefDeprecated));
  const imports = [...(cache?.imports ?? []), ...(cache?.importRefsDeprecated ?? []).map(registry)];
  return { cacheFrom: cacheSources(imports), cacheTo: exports.map((entry) => cacheTarget(plain(entry))) };
}

export function cacheSources(entries: readonly Exporter[]): CacheSource[] {
  return entries.map((entry) => cacheSource(plain(entry)));
}

/** `cache-imports`, as frontends get it: a list of types and attributes in JSON. */
export function cacheImports(attributes: ReadonlyMap<string, string>): CacheSource[] {
  const text = attributes.get("cache-imports");
  const references = (attributes.get("cache-from") ?? "").split(",").filter((ref) => ref !== "");
  const plainOnes = references.map((ref) => cacheSource({ type: "registry", attributes: { ref } }));
  if (text === undefined || text === "") return plainOnes;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new EngineError("invalidArgument", `cache-imports "${text.slice(0, 200)}" is no JSON`);
  }
  if (!Array.isArray(value)) throw new EngineError("invalidArgument", "cache-imports is no list");
  const entries = value as { Type?: unknown; Attrs?: Record<string, unknown> | null }[];
  return entries.map(({ Type, Attrs }) =>
    cacheSource({
      type: String(Type),
      attributes: Object.fromEntries(Object.entries(Attrs ?? {}).map(([name, one]) => [name, String(one)])),
    }),
  );
}

function plain({ type, attrs }: Exporter): Parameters<typeof cacheSource>[0] {
  return { type, attributes: Object.fromEntries(attrs) };
}
