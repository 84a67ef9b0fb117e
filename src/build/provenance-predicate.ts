import { EngineError } from "../common/index.ts";
import { imageUrl, predicateTypes } from "../image/index.ts";
import { parseReference } from "../spec/index.ts";
import { isLayout, layoutDigest } from "./layout-image.ts";
import type { FrontendOptions, ProvenanceFacts } from "./build-request.ts";

/** `--provenance`, as `mode=max,version=v1,builder-id=…,reproducible=true`. */
export interface ProvenanceOptions {
  /** `min` leaves out what may be secret: build arguments, labels, the Dockerfile, names of secrets. */
  readonly mode: "min" | "max";
  readonly version: "v0.2" | "v1";
  /** A URL of who builds; empty where nobody says. */
  readonly builderId: string;
  readonly reproducible: boolean;
  /** For images alone: a client's own files come without it. */
  readonly inlineOnly?: boolean;
}

/** What the facts of a build do not hold. */
export interface ProvenanceBuild {
  /** Id of this one run. */
  readonly invocationId: string;
  /** Of this machine: `linux/amd64`. */
  readonly platform: string;
  /** Names of the client's folders that were read (`context`, `dockerfile`): materials without a digest. */
  readonly locals: readonly string[];
  /** Of --secret and --ssh; never their values. */
  readonly secrets?: readonly { readonly id: string; readonly optional: boolean }[];
  readonly ssh?: readonly { readonly id: string; readonly optional: boolean }[];
  /** Where Dockerfile and context come from, when that is no folder of the client: an entry of the materials. */
  readonly configSource?: { readonly uri: string; readonly digest?: string };
  /** The graph: an id, what it says, the ids it takes from. */
  readonly steps?: readonly { readonly id: string; readonly name: string; readonly inputs: readonly string[] }[];
}

/** The meaning of parameters is BuildKit's, so that what reads its provenance reads this. */
const buildTypes = {
  "v0.2": "https://mobyproject.org/buildkit@v1",
  v1: "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
} as const;
const frontendName = "dockerfile.v0";

/** Reads the value of `--provenance` or of `attest:provenance`: `true`, `mode=max,version=v1`. Undefined for `false`. */
export function parseProvenanceOptions(text: string): ProvenanceOptions | undefined {
  if (["false", "0", "f", "disabled=true"].includes(text)) return undefined;
  const options: { -readonly [Name in keyof ProvenanceOptions]: ProvenanceOptions[Name] } = {
    mode: "min",
    version: "v0.2",
    builderId: "",
    reproducible: false,
  };
  if (["", "true", "1", "t"].includes(text)) return options;
  for (const field of text.split(",")) {
    const [name = "", value = ""] = field.split(/=(.*)/s, 2);
    if (name === "type" && value === "provenance") continue;
    if (name === "mode" && (value === "min" || value === "max")) options.mode = value;
    else if (name === "version" && (value === "v0.2" || value === "v1")) options.version = value;
    else if (name === "builder-id") options.builderId = value;
    else if (name === "reproducible" && /^(true|false)$/.test(value)) options.reproducible = value === "true";
    else if (name === "inline-only" && /^(true|false)$/.test(value)) options.inlineOnly = value === "true";
    else if (name === "disabled" && value === "true") return undefined;
    else if (name !== "disabled" || value !== "false") {
      throw new EngineError("invalidArgument", `invalid provenance option "${field}"`);
    }
  }
  return options;
}

/** How an image was built, to be stated of it: SLSA provenance v0.2 or v1 (slsa.dev/spec), in BuildKit's form. */
export function provenancePredicate(
  facts: ProvenanceFacts,
  { build, options }: { build: ProvenanceBuild; options: ProvenanceOptions },
): { predicateType: string; predicate: object } {
  const parts = { facts, build, options };
  return options.version === "v1"
    ? { predicateType: predicateTypes.provenance1, predicate: predicate1(parts) }
    : { predicateType: predicateTypes.provenance02, predicate: predicate02(parts) };
}

/** An image that a build took, by the digest that its registry knows it by; one that came from none, by its config's. */
export function imageMaterial(
  reference: string,
  image: { readonly id: string; readonly repoDigests: readonly string[] },
): { uri: string; digest: string } {
  if (isLayout(reference)) return { uri: reference, digest: layoutDigest(reference) };
  const { domain, path, digest } = parseReference(reference);
  const known = image.repoDigests.map(parseReference).find((one) => one.domain === domain && one.path === path);
  return { uri: imageUrl(reference), digest: digest ?? known?.digest ?? image.id };
}

interface Parts {
  readonly facts: ProvenanceFacts;
  readonly build: ProvenanceBuild;
  readonly options: ProvenanceOptions;
}

function predicate02({ facts, build, options }: Parts): object {
  return {
    builder: { id: options.builderId },
    buildType: buildTypes["v0.2"],
    materials: materials(facts),
    invocation: {
      configSource: { ...configSource(build), entryPoint: facts.dockerfile.name },
      parameters: parameters({ facts, build, options }),
      environment: { platform: build.platform },
    },
    ...(options.mode === "max" ? { buildConfig: buildConfig(build) } : {}),
    metadata: {
      buildInvocationID: build.invocationId,
      buildStartedOn: timeText(facts.startedMs),
      buildFinishedOn: timeText(facts.finishedMs),
      completeness: { parameters: true, environment: true, materials: build.locals.length === 0 },
      reproducible: options.reproducible,
      "https://mobyproject.org/buildkit@v1#metadata": buildMetadata({ facts, build, options }),
    },
  };
}

function predicate1({ facts, build, options }: Parts): object {
  return {
    buildDefinition: {
      buildType: buildTypes.v1,
      externalParameters: {
        configSource: { ...configSource(build), path: facts.dockerfile.name },
        request: parameters({ facts, build, options }),
      },
      internalParameters: {
        builderPlatform: build.platform,
        ...(options.mode === "max" ? { buildConfig: buildConfig(build) } : {}),
      },
      resolvedDependencies: materials(facts),
    },
    runDetails: {
      builder: { id: options.builderId },
      metadata: {
        invocationId: build.invocationId,
        startedOn: timeText(facts.startedMs),
        finishedOn: timeText(facts.finishedMs),
        buildkit_metadata: buildMetadata({ facts, build, options }),
        buildkit_completeness: { request: true, resolvedDependencies: build.locals.length === 0 },
        buildkit_reproducible: options.reproducible,
      },
    },
  };
}

/** In order of their URIs, each once. */
function materials(facts: ProvenanceFacts): { uri: string; digest: Record<string, string> }[] {
  const sorted = new Map(
    facts.materials.map(({ uri, digest }) => [`${uri} ${digest}`, { uri, digest: digestSet(digest) }]),
  );
  return [...sorted.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, material]) => material);
}

function digestSet(digest: string): Record<string, string> {
  const [algorithm, hex] = digest.split(":", 2);
  // A commit's id says by its length what it is.
  if (hex === undefined) return { [digest.length === 64 ? "sha256" : "sha1"]: digest };
  return { [algorithm ?? "sha256"]: hex };
}

function configSource({ configSource }: ProvenanceBuild): object {
  if (!configSource) return {};
  const { uri, digest } = configSource;
  return { uri, ...(digest === undefined ? {} : { digest: digestSet(digest) }) };
}

function parameters({ facts, build, options }: Parts): object {
  const isMax = options.mode === "max";
  const args = frontendAttributes(facts.frontend, isMax);
  const secrets = isMax ? (build.secrets ?? []) : [];
  const ssh = isMax ? (build.ssh ?? []) : [];
  return {
    frontend: frontendName,
    ...(Object.keys(args).length > 0 ? { args } : {}),
    ...(secrets.length > 0 ? { secrets: secrets.map(mountFact) } : {}),
    ...(ssh.length > 0 ? { ssh: ssh.map(mountFact) } : {}),
    ...(build.locals.length > 0 ? { locals: build.locals.toSorted().map((name) => ({ name })) } : {}),
  };
}

function mountFact({ id, optional }: { id: string; optional: boolean }): object {
  return optional ? { id, optional } : { id };
}

/** The options as BuildKit's frontend takes them; those of this machine (limits, platform) are not part of it. */
function frontendAttributes(frontend: FrontendOptions, isMax: boolean): Record<string, string> {
  const attributes: Record<string, string> = {};
  if (frontend.target !== undefined) attributes.target = frontend.target;
  if (frontend.noCache === true) attributes["no-cache"] = "";
  else if (frontend.noCache !== false) attributes["no-cache"] = frontend.noCache.join(",");
  if (frontend.addHosts.length > 0) attributes["add-hosts"] = frontend.addHosts.join(",");
  if (frontend.networkMode !== "" && frontend.networkMode !== "default")
    attributes["force-network-mode"] = frontend.networkMode;
  for (const [name, value] of Object.entries(frontend.contexts)) attributes[`context:${name}`] = withoutPassword(value);
  if (frontend.sourceDateEpoch !== undefined) attributes["source-date-epoch"] = String(frontend.sourceDateEpoch);
  if (isMax) {
    for (const [name, value] of Object.entries(frontend.arguments))
      if (value !== null) attributes[`build-arg:${name}`] = value;
    for (const [name, value] of Object.entries(frontend.labels)) attributes[`label:${name}`] = value;
  }
  return Object.fromEntries(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function withoutPassword(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]*@/i, "$1");
}

function buildConfig({ steps = [] }: ProvenanceBuild): object {
  const numbers = new Map(steps.map(({ id }, index) => [id, `step${index}`]));
  return {
    llbDefinition: steps.map(({ id, inputs }) => ({
      id: numbers.get(id),
      ...(inputs.length > 0 ? { inputs: inputs.map((input) => `${numbers.get(input) ?? input}:0`) } : {}),
    })),
    digestMapping: Object.fromEntries(steps.map(({ id }) => [id, numbers.get(id) ?? ""])),
  };
}

function buildMetadata({ facts, options }: Parts): object {
  if (options.mode === "min") return {};
  const { name, text } = facts.dockerfile;
  return {
    source: { infos: [{ filename: name, language: "Dockerfile", data: Buffer.from(text).toString("base64") }] },
  };
}

function timeText(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
