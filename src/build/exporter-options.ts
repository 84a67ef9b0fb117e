import { EngineError } from "../common/index.ts";
import type { BuildOutput } from "../spec/index.ts";

/** What an exporter is told; defaults filled in. */
export interface ExporterOptions {
  readonly type: BuildOutput["type"];
  /** Of images: with tags, each once. */
  readonly names: readonly string[];
  readonly push: boolean;
  /** Before the names of the files that attestations are in, of local and tar. */
  readonly attestationPrefix: string;
}

/** What an attribute may say beside what is read below: the one thing that is done anyway. */
const onlyValues: Readonly<Record<string, readonly string[]>> = {
  "platform-split": ["false"],
  "force-compression": ["false"],
  mode: ["copy"],
  store: ["true"],
  tar: ["true"],
  unpack: ["true"],
  "name-canonical": ["false"],
  "push-by-digest": ["false"],
};
const compressions: Readonly<Record<BuildOutput["type"], readonly string[]>> = {
  docker: ["uncompressed"],
  oci: ["uncompressed"],
  image: ["gzip"],
  registry: ["gzip"],
  local: [],
  tar: [],
};
const ofImages = new Set(["docker", "image", "oci", "registry"]);

/** Reads BuildKit's attributes of an exporter. Throws `unsupported` for one that would not be followed. */
export function exporterOptions({ type, attributes }: Omit<BuildOutput, "destination">): ExporterOptions {
  let names: string[] = [];
  let push = type === "registry";
  let attestationPrefix = "";
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "name" && ofImages.has(type)) names = value.split(",").filter((entry) => entry !== "");
    else if (name === "push" && (type === "image" || type === "registry")) push = isTrue(name, value);
    else if (name === "attestation-prefix" && !ofImages.has(type)) attestationPrefix = checkPrefix(value);
    else if (name === "compression" && compressions[type].includes(value)) continue;
    else if (!(onlyValues[name]?.includes(value) ?? false)) {
      throw new EngineError("unsupported", `The exporter "${type}" does not know ${name}=${value}`);
    }
  }
  if (push && names.length === 0) throw new EngineError("invalidArgument", "tag is needed when pushing to registry");
  return { type, names: [...new Set(names)], push, attestationPrefix };
}

function isTrue(name: string, value: string): boolean {
  if (["true", "1", "t"].includes(value)) return true;
  if (["false", "0", "f"].includes(value)) return false;
  throw new EngineError("invalidArgument", `non-bool value "${value}" specified for ${name}`);
}

function checkPrefix(prefix: string): string {
  if (/[/\0]/.test(prefix))
    throw new EngineError("invalidArgument", `The prefix "${prefix}" of attestations may not hold a slash`);
  return prefix;
}
