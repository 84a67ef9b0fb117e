// Which stages a target needs, and which images those are made from: all that must be known before a graph can be made.
import { EngineError, toEngineError } from "../common/index.ts";
import { BuildArguments } from "./build-arguments.ts";
import type { FrontendOptions } from "./build-request.ts";
import { isLayout } from "./layout-image.ts";
import { foreignPlatform, imageKey, platformOfText } from "./build-platform.ts";
import type { BaseImage } from "./config-state.ts";
import { DockerfileFault, faultToError } from "./dockerfile-error.ts";
import { expandInstruction } from "./expand-instruction.ts";
import { flagValue, type FromInstruction, type Instruction, type LabelInstruction } from "./instruction.ts";
import { parseInstructions, type Dockerfile, type Stage } from "./parse-dockerfile.ts";
import { mountOrigins } from "./run-mounts.ts";
import { expandWord } from "./shell-words.ts";
import { didYouMean } from "./suggest.ts";
import { checkStageLoops, findStage, stageNames } from "./stage-names.ts";

/** Where files or a base come from. */
export type Origin =
  | { readonly kind: "stage"; readonly index: number }
  /** `platform` where it is another than this machine's. */
  | { readonly kind: "image"; readonly reference: string; readonly platform: string | undefined }
  | { readonly kind: "scratch" }
  /** `--build-context NAME=target`: a folder of the client, a URL or a repository. */
  | { readonly kind: "context"; readonly name: string; readonly target: string };

export type StepInstruction = Exclude<Instruction, FromInstruction>;

/** A stage with everything that it does. */
export interface SourcedStage {
  readonly index: number;
  readonly name: string | undefined;
  readonly from: FromInstruction;
  readonly origin: Origin;
  /** Where it is another than this machine's: `linux/arm64`. */
  readonly platform: string | undefined;
  /** What ONBUILD of its base has it do first. */
  readonly triggers: readonly StepInstruction[];
  readonly instructions: readonly StepInstruction[];
  /** Whether the target needs it. */
  readonly needed: boolean;
}

export interface StageSources {
  readonly stages: readonly SourcedStage[];
  /** Number of the stage that is wanted. */
  readonly target: number;
  readonly arguments: BuildArguments;
  /** Keys (`imageKey`) of images that are needed and were not given. While there are any, triggers and `needed` are not all known. */
  readonly missing: readonly string[];
}

/**
 * Reads where a Dockerfile's stages come from. Called again with more images until none is missing: which stages are needed, and
 * so which images, depends on what the bases have in ONBUILD. Throws with file, line and caret.
 */
export function stageSources(
  dockerfile: Dockerfile,
  options: Pick<FrontendOptions, "arguments" | "target" | "labels" | "contexts" | "platform">,
  images: ReadonlyMap<string, BaseImage>,
): StageSources {
  const platform = foreignPlatform(options.platform);
  checkLoops(dockerfile);
  const target = targetOf(dockerfile.stages, options.target);
  const written = withLabels(dockerfile.stages, target, options.labels);
  const meta = evaluateMeta(dockerfile, targetArguments(options, { stage: written[target], platform }));
  const names: (string | undefined)[] = [];
  const found: Omit<SourcedStage, "needed">[] = [];
  for (const [index, stage] of written.entries()) {
    const place = { names, dockerfile, meta, contexts: options.contexts };
    const asked = fromPlatform(stage.from, { dockerfile, meta, platform });
    const origin = fromOrigin(stage.from, { ...place, platform: asked });
    const triggers = triggersOf(origin, found, images);
    const own = origin.kind === "stage" ? found[origin.index]?.platform : asked;
    const { from, instructions } = stage;
    found.push({ index, name: from.name, from, origin, platform: own, triggers, instructions });
    names.push(stage.from.name);
  }
  const lookup = { names, dockerfile, contexts: options.contexts };
  const { needed, references } = closure(found, { ...lookup, target });
  return {
    stages: found.map((stage) => ({ ...stage, needed: needed.has(stage.index) })),
    target,
    arguments: meta,
    missing: [...references].filter((reference) => !images.has(reference)),
  };
}

interface Lookup {
  readonly names: readonly (string | undefined)[];
  readonly dockerfile: Dockerfile;
  readonly contexts: Readonly<Record<string, string>>;
  /** Of the stage. */
  readonly platform: string | undefined;
}

function closure(
  stages: readonly Omit<SourcedStage, "needed">[],
  lookup: Omit<Lookup, "platform"> & { target: number },
): { needed: Set<number>; references: Set<string> } {
  const needed = new Set<number>();
  const references = new Set<string>();
  const take = (origin: Origin): void => {
    if (origin.kind === "image") references.add(imageKey(origin));
    if (origin.kind === "stage") visit(origin.index);
  };
  const visit = (index: number): void => {
    const stage = stages[index];
    if (needed.has(index) || !stage) return;
    needed.add(index);
    take(stage.origin);
    for (const instruction of [...stage.triggers, ...stage.instructions]) {
      const place = { ...lookup, stage: index, platform: stage.platform };
      for (const source of originsOf(instruction)) take(copyOrigin(source, instruction, place));
    }
  };
  visit(lookup.target);
  return { needed, references };
}

/** What `--from` of COPY and of RUN's mounts name. */
function originsOf(instruction: StepInstruction): string[] {
  if (instruction.kind === "COPY") {
    const from = flagValue(instruction, "from");
    return from === undefined ? [] : [from];
  }
  return instruction.kind === "RUN" ? mountOrigins(instruction).map(({ from }) => from) : [];
}

function triggersOf(
  origin: Origin,
  stages: readonly Omit<SourcedStage, "needed">[],
  images: ReadonlyMap<string, BaseImage>,
): StepInstruction[] {
  const texts =
    origin.kind === "image"
      ? (images.get(imageKey(origin))?.config.config?.OnBuild ?? [])
      : origin.kind === "stage"
        ? (stages[origin.index]?.instructions ?? []).flatMap((one) => (one.kind === "ONBUILD" ? [one.expression] : []))
        : [];
  return texts.map((text) => {
    const { instructions } = parseInstructions(text, { fileName: "an ONBUILD trigger of the base image" });
    const [instruction] = instructions;
    if (!instruction || instructions.length !== 1 || instruction.kind === "FROM") {
      throw new EngineError("invalidArgument", "onbuild trigger should be a single expression");
    }
    return instruction;
  });
}

function targetOf(stages: readonly Stage[], target: string | undefined): number {
  if (stages.length === 0)
    throw new EngineError("invalidArgument", "No image was generated. Is your Dockerfile empty?");
  if (target === undefined || target === "") return stages.length - 1;
  const found = findStage(stages, target);
  if (found !== undefined) return found;
  const proposal = didYouMean(target, stageNames(stages));
  throw new EngineError("invalidArgument", `failed to reach build target ${target} in Dockerfile${proposal}`);
}

/** Labels of the build's options are a LABEL each at the end of the target, sorted by name. */
function withLabels(
  stages: readonly Stage[],
  target: number,
  labels: Readonly<Record<string, string>>,
): readonly Stage[] {
  return stages.map((stage, index) => {
    if (index !== target) return stage;
    const { position } = stage.from;
    const added = Object.keys(labels)
      .toSorted()
      .map((key): LabelInstruction => {
        const value = labels[key] ?? "";
        const source = `LABEL ${key}=${value}`;
        const pairs = [{ key, value }];
        return { kind: "LABEL", position, endLine: position.line, source, flags: [], pairs, literal: true };
      });
    return { ...stage, instructions: [...stage.instructions, ...added] };
  });
}

function evaluateMeta(dockerfile: Dockerfile, start: BuildArguments): BuildArguments {
  const { escape } = dockerfile.directives;
  let known = start;
  for (const instruction of dockerfile.metaArguments) {
    const expanded = atPlace(dockerfile, instruction, () =>
      expandInstruction(instruction, known.metaValues(), { escape }),
    );
    for (const { key, value } of expanded.arguments) known = known.declareMeta(key, value);
  }
  return known;
}

function fromOrigin(from: FromInstruction, context: Lookup & { meta: BuildArguments }): Origin {
  const { dockerfile, meta, names, contexts } = context;
  const expand = (text: string): string =>
    atPlace(dockerfile, from, () => expandWord(text, meta.metaValues(), { escape: dockerfile.directives.escape }));
  const image = expand(from.image);
  if (image === "") {
    const fault = new DockerfileFault(`base name (${from.image}) should not be blank`, from.position);
    throw faultToError(fault, dockerfile.source);
  }
  const override = from.name === undefined ? undefined : contexts[from.name];
  if (override !== undefined && from.name !== undefined) return contextOrigin(from.name, override, context.platform);
  const stage = names.lastIndexOf(image.toLowerCase());
  if (stage >= 0) return { kind: "stage", index: stage };
  const context_ = contexts[image];
  if (context_ !== undefined) return contextOrigin(image, context_, context.platform);
  return image === "scratch" ? { kind: "scratch" } : { kind: "image", reference: image, platform: context.platform };
}

function targetArguments(
  options: Pick<FrontendOptions, "arguments">,
  { stage, platform }: { stage: Stage | undefined; platform: string | undefined },
): BuildArguments {
  return BuildArguments.create(options.arguments, stage?.from.name, platformOfText(platform));
}

/** What FROM says of it, or the build's own. */
function fromPlatform(
  from: FromInstruction,
  { dockerfile, meta, platform }: { dockerfile: Dockerfile; meta: BuildArguments; platform: string | undefined },
): string | undefined {
  const written = from.platform;
  if (written === undefined) return platform;
  const { escape } = dockerfile.directives;
  const text = atPlace(dockerfile, from, () => expandWord(written, meta.metaValues(), { escape }));
  if (text === "") return platform;
  try {
    return foreignPlatform(text);
  } catch (error) {
    const { message, code } = toEngineError(error);
    const kind = code === "unsupported" ? code : "invalidArgument";
    throw faultToError(new DockerfileFault(message, from.position, kind), dockerfile.source);
  }
}

function contextOrigin(name: string, target: string, platform: string | undefined): Origin {
  const image = /^docker-image:\/\/(.+)$/.exec(target)?.[1];
  if (image === "scratch") return { kind: "scratch" };
  // By the layout's own name, which the builder brings it by.
  if (isLayout(target)) return { kind: "image", reference: target, platform };
  return image === undefined ? { kind: "context", name, target } : { kind: "image", reference: image, platform };
}

/** What `--from` of an instruction names: another stage, a named context or an image. */
export function copyOrigin(source: string, instruction: Instruction, place: Lookup & { stage: number }): Origin {
  const { dockerfile, contexts, stage, names } = place;
  const context = contexts[source];
  const named = names.lastIndexOf(source.toLowerCase());
  if (named >= 0 && named !== stage) return { kind: "stage", index: named };
  if (context !== undefined) return contextOrigin(source, context, place.platform);
  if (source === "scratch") return { kind: "scratch" };
  if (named < 0 && !/^-?\d+$/.test(source)) return { kind: "image", reference: source, platform: place.platform };
  const index = named >= 0 ? named : Number(source);
  if (index >= 0 && index < names.length && index !== stage) return { kind: "stage", index };
  const why = index === stage ? "refers to current build stage" : "index out of bounds";
  const fault = new DockerfileFault(`invalid from flag value ${source}: ${why}`, instruction.position);
  throw faultToError(fault, dockerfile.source);
}

function checkLoops({ stages, source }: Dockerfile): void {
  try {
    checkStageLoops(stages);
  } catch (error) {
    throw error instanceof DockerfileFault ? faultToError(error, source) : error;
  }
}

function atPlace<Result>(dockerfile: Dockerfile, instruction: Instruction, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw faultToError(new DockerfileFault((error as Error).message, instruction.position), dockerfile.source);
  }
}
