import { EngineError } from "../common/index.ts";
import type { BuildArguments } from "./build-arguments.ts";
import { DockerfileFault, faultToError } from "./dockerfile-error.ts";
import { expandInstruction } from "./expand-instruction.ts";
import { flagValue, type FromInstruction, type Instruction, type LabelInstruction } from "./instruction.ts";
import type { Dockerfile, Stage } from "./parse-dockerfile.ts";
import { expandWord } from "./shell-words.ts";
import type { Vertex } from "./solver.ts";

/** Where files or a base come from. */
export type Origin =
  | { readonly kind: "stage"; readonly index: number }
  | { readonly kind: "image"; readonly reference: string }
  | { readonly kind: "scratch" };

interface StepBase extends Vertex {
  /** From 1, as the titles of the classic output count. */
  readonly number: number;
  readonly stage: number;
  readonly endsStage: boolean;
}

export interface FromStep extends StepBase {
  readonly kind: "from";
  readonly instruction: FromInstruction;
  readonly origin: Origin;
}

export interface InstructionStep extends StepBase {
  readonly kind: "instruction";
  readonly instruction: Exclude<Instruction, FromInstruction>;
  /** COPY --from. The first input is the step before; the second, for a stage, that stage's last. */
  readonly origin?: Origin;
}

export type BuildStep = FromStep | InstructionStep;

export interface BuildGraph {
  readonly steps: readonly BuildStep[];
  /** Steps in all, ARGs before the first FROM included. */
  readonly total: number;
  readonly metaTitles: readonly string[];
  readonly arguments: BuildArguments;
}

/**
 * The steps of a Dockerfile up to the target stage and what each takes from others. ARGs before the first FROM are worked
 * out here, since FROM lines, and so the edges, depend on them.
 */
export function createGraph(
  dockerfile: Dockerfile,
  options: { arguments: BuildArguments; target?: string | undefined; labels: Readonly<Record<string, string>> },
): BuildGraph {
  const stages = withLabels(stagesUpTo(dockerfile.stages, options.target), options.labels);
  const buildArguments = evaluateMeta(dockerfile, options.arguments);
  const { metaArguments } = dockerfile;
  const steps: BuildStep[] = [];
  const names: (string | undefined)[] = [];
  for (const [index, stage] of stages.entries()) {
    checkName(stage, names, dockerfile);
    const first = metaArguments.length + steps.length + 1;
    steps.push(...stageSteps(stage, { index, first, names, dockerfile, buildArguments, steps }));
    names.push(stage.from.name);
  }
  return {
    steps,
    total: metaArguments.length + steps.length,
    metaTitles: metaArguments.map((argument) => argument.source),
    arguments: buildArguments,
  };
}

interface StageContext {
  readonly index: number;
  readonly first: number;
  readonly names: readonly (string | undefined)[];
  readonly dockerfile: Dockerfile;
  readonly buildArguments: BuildArguments;
  readonly steps: readonly BuildStep[];
}

function stageSteps(stage: Stage, context: StageContext): BuildStep[] {
  const { index, first, names, dockerfile } = context;
  const id = (position: number): string => `${index}.${position}`;
  const lastOf = (wanted: number): string => context.steps.findLast((step) => step.stage === wanted)?.id ?? "";
  const origin = fromOrigin(stage.from, context);
  const from: FromStep = {
    kind: "from",
    id: id(0),
    inputs: origin.kind === "stage" ? [lastOf(origin.index)] : [],
    number: first,
    stage: index,
    endsStage: stage.instructions.length === 0,
    instruction: stage.from,
    origin,
  };
  const rest = stage.instructions.map((instruction, position): InstructionStep => {
    const source = instruction.kind === "COPY" ? flagValue(instruction, "from") : undefined;
    const copied = source === undefined ? undefined : copyOrigin(source, names, { instruction, dockerfile });
    return {
      kind: "instruction",
      id: id(position + 1),
      inputs: [id(position), ...(copied?.kind === "stage" ? [lastOf(copied.index)] : [])],
      number: first + position + 1,
      stage: index,
      instruction,
      ...(copied ? { origin: copied } : {}),
      endsStage: position === stage.instructions.length - 1,
    };
  });
  return [from, ...rest];
}

function stagesUpTo(stages: readonly Stage[], target: string | undefined): readonly Stage[] {
  if (stages.length === 0)
    throw new EngineError("invalidArgument", "No image was generated. Is your Dockerfile empty?");
  if (target === undefined || target === "") return stages;
  const named = stages.findIndex((stage) => stage.from.name === target.toLowerCase());
  const at = named >= 0 || !/^\d+$/.test(target) ? named : Number(target);
  if (at < 0 || at >= stages.length) {
    throw new EngineError("invalidArgument", `failed to reach build target ${target} in Dockerfile`);
  }
  return stages.slice(0, at + 1);
}

/** Labels of the build's options are a LABEL each at the end of the last stage, sorted by name. */
function withLabels(stages: readonly Stage[], labels: Readonly<Record<string, string>>): readonly Stage[] {
  const last = stages.at(-1);
  if (!last) return stages;
  const position = last.from.position;
  const added = Object.keys(labels)
    .toSorted()
    .map((key): LabelInstruction => {
      const value = labels[key] ?? "";
      const source = `LABEL ${key}=${value}`;
      return {
        kind: "LABEL",
        position,
        endLine: position.line,
        source,
        flags: [],
        pairs: [{ key, value }],
        literal: true,
      };
    });
  return [...stages.slice(0, -1), { ...last, instructions: [...last.instructions, ...added] }];
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

function fromOrigin(from: FromInstruction, context: StageContext): Origin {
  const { dockerfile, buildArguments, names } = context;
  const expand = (text: string): string =>
    atPlace(dockerfile, from, () =>
      expandWord(text, buildArguments.metaValues(), { escape: dockerfile.directives.escape }),
    );
  checkPlatform(from, from.platform === undefined ? undefined : expand(from.platform), dockerfile);
  const image = expand(from.image);
  if (image === "") {
    throw faultToError(
      new DockerfileFault(`base name (${from.image}) should not be blank`, from.position),
      dockerfile.source,
    );
  }
  const stage = names.indexOf(image.toLowerCase());
  if (stage >= 0) return { kind: "stage", index: stage };
  return image === "scratch" ? { kind: "scratch" } : { kind: "image", reference: image };
}

function checkPlatform(from: FromInstruction, platform: string | undefined, dockerfile: Dockerfile): void {
  if (platform === undefined || platform === "") return;
  const [os, architecture, variant] = platform.toLowerCase().split("/");
  const here = process.arch === "x64" ? ["amd64", "x86_64"] : [process.arch, "aarch64"];
  if (os === "linux" && (architecture === undefined || (here.includes(architecture) && variant === undefined))) return;
  const message = `FROM --platform="${platform}" is not built yet: images of other platforms cannot run here`;
  throw faultToError(new DockerfileFault(message, from.position, "unsupported"), dockerfile.source);
}

function copyOrigin(
  source: string,
  names: readonly (string | undefined)[],
  place: { instruction: Instruction; dockerfile: Dockerfile },
): Origin {
  const named = names.indexOf(source.toLowerCase());
  if (named >= 0) return { kind: "stage", index: named };
  if (!/^-?\d+$/.test(source)) return { kind: "image", reference: source };
  const index = Number(source);
  if (index >= 0 && index < names.length) return { kind: "stage", index };
  const why = index === names.length ? "refers to current build stage" : "index out of bounds";
  throw faultToError(
    new DockerfileFault(`invalid from flag value ${source}: ${why}`, place.instruction.position),
    place.dockerfile.source,
  );
}

function checkName(stage: Stage, names: readonly (string | undefined)[], dockerfile: Dockerfile): void {
  const { name, position } = stage.from;
  if (name === undefined || !names.includes(name)) return;
  throw faultToError(new DockerfileFault(`${name} stage name already used`, position), dockerfile.source);
}

function atPlace<Result>(dockerfile: Dockerfile, instruction: Instruction, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw faultToError(new DockerfileFault((error as Error).message, instruction.position), dockerfile.source);
  }
}
