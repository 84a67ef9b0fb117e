import { EngineError } from "../common/index.ts";
import { familiarString, parseReference, withDefaultTag } from "../spec/index.ts";

/** Where a cache is read from. */
export type CacheSource =
  | { readonly type: "registry"; readonly reference: string }
  /** A folder of the client; `digest` is that of the manifest. */
  | { readonly type: "local"; readonly folder: string; readonly digest: string };

/** Where a cache is written to. `max`: what every stage made, else what the result is made of. */
export type CacheTarget =
  | { readonly type: "inline" }
  | { readonly type: "registry"; readonly reference: string; readonly mode: CacheMode; readonly ignoreError: boolean }
  | { readonly type: "local"; readonly folder: string; readonly mode: CacheMode; readonly ignoreError: boolean };

type CacheMode = "min" | "max";

interface CacheEntryAttributes {
  readonly type: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** Attributes that say what is done anyway. */
const onlyValues: Readonly<Record<string, readonly string[]>> = {
  compression: ["gzip"],
  "force-compression": ["false"],
  "oci-mediatypes": ["true"],
  "image-manifest": ["true"],
};

/** Reads an entry of `cache-imports` (moby/buildkit, cache/remotecache). Throws unsupported, by name, for what would not be followed. */
export function cacheSource({ type, attributes }: CacheEntryAttributes): CacheSource {
  if (type === "registry") {
    checkNames(type, attributes, ["ref"]);
    return { type, reference: referenceOf(attributes["ref"], "cache-from") };
  }
  if (type === "local") {
    checkNames(type, attributes, ["src", "digest", "tag"]);
    const { src = "", digest = "" } = attributes;
    if (!/^sha256:[0-9a-f]{64}$/.test(digest)) {
      throw new EngineError("invalidArgument", `The local cache "${src}" has the digest "${digest}", which is none`);
    }
    return { type, folder: src, digest };
  }
  throw new EngineError(
    "unsupported",
    `cache import of type "${type}" is not built: use registry, local, or an image's name`,
  );
}

/** Reads an entry of `Solve.Cache.Exports`. Throws as `cacheSource` does. */
export function cacheTarget({ type, attributes }: CacheEntryAttributes): CacheTarget {
  if (type === "inline") {
    checkNames(type, attributes, ["mode"]);
    return { type };
  }
  const mode = attributes["mode"] ?? "min";
  if (mode !== "min" && mode !== "max")
    throw new EngineError("invalidArgument", `unsupported cache mode "${mode}": min or max`);
  const ignoreError = attributes["ignore-error"] === "true";
  if (type === "registry") {
    checkNames(type, attributes, ["ref", "mode", "ignore-error"]);
    return { type, reference: referenceOf(attributes["ref"], "cache-to"), mode, ignoreError };
  }
  if (type === "local") {
    checkNames(type, attributes, ["dest", "mode", "ignore-error", "tag"]);
    return { type, folder: attributes["dest"] ?? "", mode, ignoreError };
  }
  throw new EngineError("unsupported", `cache export of type "${type}" is not built: use inline, registry or local`);
}

function checkNames(type: string, attributes: Readonly<Record<string, string>>, known: readonly string[]): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (known.includes(name) || (onlyValues[name]?.includes(value) ?? false)) continue;
    throw new EngineError("unsupported", `A cache of type "${type}" does not know ${name}=${value}`);
  }
}

function referenceOf(text: string | undefined, flag: string): string {
  if (text === undefined || text === "")
    throw new EngineError("invalidArgument", `${flag}: a registry's cache needs ref=`);
  return familiarString(withDefaultTag(parseReference(text)));
}
