import type { PruneOptions } from "../../build/index.ts";
import { EngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import { controlMethods as methods, type usageRecordMessage } from "./control-messages.ts";
import { serverStreaming, unary, type GrpcMethods } from "./grpc-server.ts";
import { timestampOf } from "./status-records.ts";
import type { CacheUsage } from "../../spec/index.ts";

/** What the build cache keeps, and its removal, as `docker buildx du` and `prune` ask for them. */
export function cacheService(engine: Engine, removeFolders: () => void): GrpcMethods {
  return {
    [methods.diskUsage.path]: unary(methods.diskUsage, ({ filter }) => {
      const filters = filtersOf(filter);
      const wanted = (usage: CacheUsage): boolean =>
        [...filters].every(([name, values]) => {
          if (name === "id") return values.includes(usage.ID);
          if (name === "type") return values.includes(usage.Type);
          throw new EngineError("unsupported", `the filter "${name}" of the cache is not built; use id or type`);
        });
      return { record: engine.builds.usage().filter(wanted).map(recordOf) };
    }),
    [methods.prune.path]: serverStreaming(methods.prune, async function* (request) {
      if (request.minFreeSpace > 0)
        throw new EngineError("unsupported", "prune by free space is not built; use a size to keep");
      const before = engine.builds.usage();
      const keepBytes = request.maxUsedSpace || request.reservedSpace;
      const options: PruneOptions = {
        all: request.all,
        filters: withAge(filtersOf(request.filter), request.keepDuration),
        ...(keepBytes > 0 ? { keepBytes } : {}),
      };
      await engine.builds.prune(options);
      if (options.filters.size === 0 && keepBytes === 0) removeFolders();
      const left = new Set(engine.builds.usage().map(({ ID }) => ID));
      for (const usage of before) if (!left.has(usage.ID)) yield recordOf(usage);
    }),
  };
}

/** `name=value` each, or `name==value`, as containerd writes them. */
function filtersOf(texts: readonly string[]): Map<string, string[]> {
  const filters = new Map<string, string[]>();
  for (const text of texts.flatMap((one) => one.split(",")).filter((one) => one !== "")) {
    const [, name = "", value = ""] = /^([a-z-]+)==?(.*)$/s.exec(text) ?? [];
    if (name === "") throw new EngineError("invalidArgument", `the filter "${text}" is not name=value`);
    filters.set(name, [...(filters.get(name) ?? []), value]);
  }
  return filters;
}

/** Nanoseconds since the last use, which the protocol has as a field of its own. */
function withAge(filters: Map<string, string[]>, keepDurationNs: number): Map<string, string[]> {
  return keepDurationNs === 0 ? filters : filters.set("unused-for", [`${Math.round(keepDurationNs / 1e6)}ms`]);
}

function recordOf(usage: CacheUsage): ReturnType<typeof usageRecordMessage.decode> {
  return {
    id: usage.ID,
    mutable: usage.Type === "exec.cachemount",
    inUse: usage.InUse,
    size: usage.Size,
    createdAt: timestampOf(Date.parse(usage.CreatedAt)),
    lastUsedAt: timestampOf(Date.parse(usage.LastUsedAt)),
    usageCount: usage.UsageCount,
    description: usage.Description,
    recordType: usage.Type,
    shared: usage.Shared,
    parents: [],
  };
}
