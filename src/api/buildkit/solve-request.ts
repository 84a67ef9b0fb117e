// What a client's Solve asks for, checked: a thing that is not built is refused by its name.
import { exporterOptions, type ExporterOptions } from "../../build/index.ts";
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

/** Caches in registries and folders; without any there is nothing to refuse. */
export function refuseCaches(cache: CacheOptions | undefined): void {
  const exports = cache?.exports.map(({ type }) => type) ?? [];
  const imports = cache?.imports.map(({ type }) => type) ?? [];
  if (cache && cache.exportRefDeprecated !== "") exports.push("registry");
  if (exports.length > 0) {
    throw new EngineError("unsupported", `cache export of type "${exports.join('", "')}" is not built yet`);
  }
  if (imports.length > 0 || (cache?.importRefsDeprecated.length ?? 0) > 0) {
    throw new EngineError(
      "unsupported",
      `cache import of type "${imports.join('", "') || "registry"}" is not built yet`,
    );
  }
}
