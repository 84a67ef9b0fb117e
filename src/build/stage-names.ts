// Which stages refer to which: by name in FROM, and by name or number in --from of COPY and of RUN's mounts.
import { EngineError } from "../common/index.ts";
import { DockerfileFault, type Position } from "./dockerfile-error.ts";
import type { Instruction } from "./instruction.ts";
import type { Dockerfile, Stage } from "./parse-dockerfile.ts";
import { mountOrigins } from "./run-mounts.ts";
import { didYouMean } from "./suggest.ts";

/** A stage that an instruction takes files from. */
interface StageReference {
  readonly stage: number;
  readonly position: Position;
}

/** The number of the stage that `--from` names, wherever it stands; undefined for an image or a named context. */
export function findStage(stages: readonly Stage[], name: string): number | undefined {
  const named = stages.findLastIndex(({ from }) => from.name === name.toLowerCase());
  if (named >= 0) return named;
  return /^\d+$/.test(name) && Number(name) < stages.length ? Number(name) : undefined;
}

/** The number of `--target`'s stage. Throws with Docker's words and the nearest name. */
export function targetStage(stages: readonly Stage[], target: string | undefined): number {
  if (target === undefined || target === "") return stages.length - 1;
  const found = findStage(stages, target);
  if (found !== undefined) return found;
  const proposal = didYouMean(target, stageNames(stages));
  throw new EngineError("invalidArgument", `target stage "${target}" could not be found${proposal}`);
}

export function stageNames(stages: readonly Stage[]): string[] {
  return stages.flatMap(({ from }) => from.name ?? []);
}

/**
 * What went wrong with an image, with the line that names it, and the stage that may have been meant: `--from=biuld` names an image
 * where no stage has that name.
 */
export function withNearestStage(error: unknown, reference: string, stages: readonly Stage[]): unknown {
  const proposal = didYouMean(reference, stageNames(stages));
  if (!(error instanceof EngineError) || error.code === "cancelled") return error;
  const from = stages.find((stage) => stage.from.image === reference)?.from;
  const place = from === undefined ? {} : { line: from.position.line, endLine: from.endLine };
  const message = `${error.message}${proposal.replace("mean", "mean the stage")}`;
  return new EngineError(error.code, message, { cause: error, data: { ...error.data, ...place } });
}

/** Refuses stages that need each other: no order could build them. */
export function checkStageLoops(stages: readonly Stage[]): void {
  const done = new Set<number>();
  const visit = (stage: number, path: readonly number[]): void => {
    if (done.has(stage)) return;
    for (const reference of referencesOf(stages, stage)) {
      if (path.includes(reference.stage) || reference.stage === stage) {
        const loop = [...path.slice(path.indexOf(reference.stage)), stage, reference.stage];
        const names = (reference.stage === stage ? [stage, stage] : loop).map((index) => nameOf(stages, index));
        const message = `circular dependency detected on stage: ${names[0] ?? ""} (${names.join(" → ")})`;
        throw new DockerfileFault(message, reference.position);
      }
      visit(reference.stage, [...path, stage]);
    }
    done.add(stage);
  };
  for (const index of stages.keys()) visit(index, []);
}

/** The stages that a target needs; undefined without a target: all. `bases` are the FROM lines' images, variables replaced. */
export function neededStages(
  { stages }: Dockerfile,
  bases: readonly string[],
  target: string | undefined,
): ReadonlySet<number> | undefined {
  if (target === undefined || target === "") return undefined;
  const needed = new Set<number>();
  const visit = (stage: number): void => {
    if (needed.has(stage)) return;
    needed.add(stage);
    const base = stages.slice(0, stage).findLastIndex(({ from }) => from.name === bases[stage]?.toLowerCase());
    if (base >= 0) visit(base);
    for (const reference of referencesOf(stages, stage)) visit(reference.stage);
  };
  visit(targetStage(stages, target));
  return needed;
}

/** `stage-2`, for one without a name. */
function nameOf(stages: readonly Stage[], index: number): string {
  return stages[index]?.from.name ?? `stage-${index}`;
}

function referencesOf(stages: readonly Stage[], index: number): StageReference[] {
  const stage = stages[index];
  if (!stage) return [];
  const base = stages.slice(0, index).findLastIndex(({ from }) => from.name === stage.from.image.toLowerCase());
  const copied = stage.instructions.flatMap(originsOf).flatMap(({ from, position }) => {
    const found = findStage(stages, from);
    return found === undefined ? [] : [{ stage: found, position }];
  });
  return [...(base < 0 ? [] : [{ stage: base, position: stage.from.position }]), ...copied];
}

function originsOf(instruction: Instruction): { from: string; position: Position }[] {
  if (instruction.kind === "RUN") return mountOrigins(instruction);
  if (instruction.kind !== "COPY") return [];
  return instruction.flags
    .filter(({ name }) => name === "from")
    .map(({ value, position }) => ({ from: value, position }));
}
