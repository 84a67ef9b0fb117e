import { EngineError, newId } from "../common/index.ts";
import type { BuildProgress } from "./build-progress.ts";
import type { StageResult } from "./build-request.ts";
import { platformOfText } from "./build-platform.ts";
import { scratchConfig } from "./config-state.ts";
import type { BuildPlan, Change, PlannedStage, Step } from "./create-graph.ts";
import { addBuildkitHistory, nameStep, type ImageMakers, type StageImage } from "./stage-images.ts";
import type { Solver } from "./solver.ts";
import type { Component, Solved } from "./work-context.ts";

/** What is known of a step once it is done. */
export interface StepOutcome {
  readonly number: number;
  readonly title: string;
  readonly cached: boolean;
  /** What its key was made of; empty where only the config changes. */
  readonly components: readonly Component[];
}

export interface WalkedStages {
  readonly end: StageImage;
  readonly stages: readonly StageResult[];
  readonly outcomes: readonly StepOutcome[];
}

interface Walk {
  readonly plan: BuildPlan;
  readonly solver: Solver<Solved>;
  readonly makers: ImageMakers;
  readonly progress: BuildProgress;
  readonly dialect: "classic" | "buildkit";
  readonly outcomes: StepOutcome[];
  readonly ends: Map<number, Promise<StageImage>>;
}

/**
 * Goes through the stages of a plan, each at its own pace: asks for the operation of each step, names images, and tells what happens.
 * Stages wait for each other only where one takes from the other.
 */
export async function walkStages(walk: Omit<Walk, "outcomes" | "ends">): Promise<WalkedStages> {
  const whole: Walk = { ...walk, outcomes: [], ends: new Map() };
  const { plan, solver, makers } = walk;
  for (const stage of plan.stages) {
    // Each begins a turn later, when all are in the table: a stage may begin with another.
    const end = Promise.resolve().then(() => walkStage(whole, stage));
    end.catch((error: unknown) => solver.fail(error));
    whole.ends.set(stage.index, end);
  }
  await Promise.allSettled(whole.ends.values());
  await solver.settle();
  const stages = await Promise.all(
    plan.stages.map(async ({ index, name }): Promise<StageResult> => {
      const { config, top } = await whole.ends.get(index)!;
      return { index, name, config, layers: makers.layers.chain(top).map(({ chainId }) => chainId) };
    }),
  );
  const end = await whole.ends.get(plan.target.index);
  if (!end) throw new EngineError("invalidArgument", "No image was generated. Is your Dockerfile empty?");
  await makers.layers.need(end.top);
  return { end, stages, outcomes: whole.outcomes.toSorted((left, right) => left.number - right.number) };
}

async function walkStage(walk: Walk, stage: PlannedStage): Promise<StageImage> {
  const { progress, plan } = walk;
  let image: StageImage | undefined;
  for (const step of stage.steps) {
    progress.step(stage.index, { type: "step", number: step.number, total: plan.total, title: step.title });
    image ??= await beginImage(walk, stage);
    if (step.number === stage.steps[0]?.number && stage.triggers > 0) {
      const text = `# Executing ${stage.triggers} build trigger${stage.triggers > 1 ? "s" : ""}\n`;
      progress.step(stage.index, { type: "note", text });
    }
    image = await walkStep(walk, step, { stage, image });
    progress.step(stage.index, { type: "image", id: image.imageId });
  }
  if (!image) throw new EngineError("internal", `Stage ${stage.index} has no step`);
  progress.step(stage.index, { type: "stage", imageId: image.imageId });
  return image;
}

async function beginImage({ ends, solver, dialect }: Walk, stage: PlannedStage): Promise<StageImage> {
  if (stage.baseStage !== undefined) {
    const before = await ends.get(stage.baseStage);
    if (before) return before;
  }
  const solved = stage.baseOperation === undefined ? undefined : await solver.solve(stage.baseOperation);
  const { base } = stage;
  return {
    imageId: dialect === "classic" ? (base?.imageId ?? "") : "",
    config: base?.config ?? { ...scratchConfig, ...platformOfText(stage.platform) },
    top: solved?.top,
  };
}

async function walkStep(
  walk: Walk,
  step: Step,
  { stage, image }: { stage: PlannedStage; image: StageImage },
): Promise<StageImage> {
  let current = image;
  for (const change of step.changes) {
    const { progress, solver, outcomes } = walk;
    if (change.note !== undefined) progress.step(stage.index, { type: "note", text: change.note });
    awaitHistory(walk, change, current);
    const solved = await solveChange(walk, change, stage);
    const cached = solved?.cached ?? false;
    if (solver.signal.aborted) throw new EngineError("cancelled", "Build cancelled");
    current = await nextImage(walk, change, { stage, current, solved });
    const { number, title } = step;
    outcomes.push({ number, title, cached, components: solved?.components ?? [] });
  }
  return current;
}

function awaitHistory({ makers, dialect }: Walk, { operation, command }: Change, { config, top }: StageImage): void {
  if (operation === undefined || dialect !== "classic") return;
  makers.histories.await(operation, { history: config.history ?? [], top }, (digests) => command(digests).join(" "));
}

async function solveChange(walk: Walk, { operation }: Change, stage: PlannedStage): Promise<Solved | undefined> {
  if (operation === undefined) return undefined;
  const { progress, solver } = walk;
  progress.step(stage.index, { type: "operation", vertex: operation });
  const solved = await solver.solve(operation);
  progress.step(stage.index, { type: "operationDone", vertex: operation });
  return solved;
}

async function nextImage(
  { dialect, makers, progress }: Walk,
  change: Change,
  { stage, current, solved }: { stage: PlannedStage; current: StageImage; solved: Solved | undefined },
): Promise<StageImage> {
  const top = solved ? solved.top : current.top;
  if (dialect === "buildkit") {
    const config = addBuildkitHistory(current.config, { change, solved, makers, top });
    return { imageId: "", config, top };
  }
  const { ignoreCache } = stage;
  const named = await nameStep(makers, current, { change, solved, ignoreCache });
  if (named.cached) progress.step(stage.index, { type: "cached" });
  else if (change.container === "made") {
    progress.step(stage.index, { type: "container", id: named.containerId || newId() });
    progress.step(stage.index, { type: "containerRemoved", id: named.containerId });
  }
  return named.after;
}
