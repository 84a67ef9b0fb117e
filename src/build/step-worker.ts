import { EngineError, newId } from "../common/index.ts";
import { closeFd, openDirectory } from "../kernel/index.ts";
import type { ImageRunConfig } from "../spec/index.ts";
import { errorAt, throwIfCancelled, type BuildEnvironment } from "./build-environment.ts";
import { makeDirectories } from "./copy-files.ts";
import { copyStep } from "./copy-step.ts";
import { expandInstruction } from "./expand-instruction.ts";
import type { BuildGraph, BuildStep, FromStep, InstructionStep, Origin } from "./graph.ts";
import type { FromInstruction, Instruction } from "./instruction.ts";
import { applyMetadata, resolveWorkingDirectory } from "./metadata-steps.ts";
import { MountedSnapshot } from "./mounted-snapshot.ts";
import { parseInstructions } from "./parse-dockerfile.ts";
import { environmentOf, shellOf } from "./run-config.ts";
import { runStep } from "./run-step.ts";
import {
  beginStage,
  commitStep,
  findCached,
  topLayer,
  withImage,
  type StageState,
  type StepResult,
} from "./stage-state.ts";
import type { StepEvent } from "./step-events.ts";

type Steps = AsyncGenerator<StepEvent, StageState>;
export type StepInstruction = Exclude<Instruction, FromInstruction>;

/** Where a COPY --from takes its files: the state of a stage, or an image's. */
export type CopyOrigin = { readonly origin: Origin; readonly stage: StageState | undefined } | undefined;

/** Carries out one step of a build; the solver's worker. */
export class StepWorker {
  constructor(
    readonly environment: BuildEnvironment,
    readonly graph: BuildGraph,
  ) {}

  async *work(step: BuildStep, inputs: readonly StageState[]): Steps {
    throwIfCancelled(this.environment.options.signal);
    yield { type: "step", number: step.number, total: this.graph.total, title: step.instruction.source };
    const state = yield* step.kind === "from" ? this.#from(step, inputs) : this.#instruction(step, inputs);
    yield { type: "image", id: state.imageId };
    if (step.endsStage) yield { type: "stage", imageId: state.imageId };
    return state;
  }

  async *#from(step: FromStep, [previous]: readonly StageState[]): Steps {
    const state = await this.#base(step.origin, previous);
    this.environment.services.hold.add(topLayer(state));
    const triggers = state.runConfig.OnBuild ?? [];
    if (triggers.length === 0) return state;
    const rest: StageState = { ...state, runConfig: { ...state.runConfig, OnBuild: null } };
    return yield* this.#triggers(triggers, rest);
  }

  async #base(origin: Origin, stage: StageState | undefined): Promise<StageState> {
    const { services, executor } = this.environment;
    if (origin.kind === "image") return beginStage(await executor.resolveBase(origin.reference), this.graph.arguments);
    if (origin.kind === "scratch" || !stage || stage.imageId === "") return beginStage(undefined, this.graph.arguments);
    return beginStage(services.images.get(stage.imageId), this.graph.arguments);
  }

  async *#triggers(triggers: readonly string[], start: StageState): Steps {
    yield { type: "note", text: `# Executing ${triggers.length} build trigger${triggers.length > 1 ? "s" : ""}\n` };
    let state = start;
    for (const trigger of triggers) {
      const { instructions } = parseInstructions(trigger, { fileName: "an ONBUILD trigger of the base image" });
      const [instruction] = instructions;
      if (!instruction || instructions.length !== 1 || instruction.kind === "FROM") {
        throw new EngineError("invalidArgument", "onbuild trigger should be a single expression");
      }
      const from = instruction.kind === "COPY" && instruction.flags.find((flag) => flag.name === "from");
      if (from) {
        const message = `ONBUILD COPY --from=${from.value} is not built yet: use --from in the Dockerfile itself`;
        throw new EngineError("unsupported", message);
      }
      state = yield* this.#dispatch(instruction, state, undefined);
    }
    return state;
  }

  async *#instruction(step: InstructionStep, [state, copied]: readonly StageState[]): Steps {
    if (!state) throw new EngineError("internal", `Step ${step.number} has no step before it`);
    const origin = step.origin ? { origin: step.origin, stage: copied } : undefined;
    return yield* this.#dispatch(step.instruction, state, origin);
  }

  async *#dispatch(written: StepInstruction, state: StageState, origin: CopyOrigin): Steps {
    const environment = environmentOf(state.runConfig);
    const variables = new Map([...environment, ...state.arguments.values(environment)]);
    const { escape } = this.environment.dockerfile.directives;
    const instruction = this.#expand(written, variables);
    switch (instruction.kind) {
      case "COPY":
      case "ADD":
        return yield* copyStep(this.environment, instruction, { state, origin });
      case "RUN":
        return yield* runStep(this.environment, instruction, state);
      case "WORKDIR":
        return yield* this.#workdir(instruction.value, state);
      default: {
        const change = applyMetadata(instruction, state, { variables, escape });
        if (change.note !== undefined) yield { type: "note", text: change.note };
        const { runConfig } = change.state;
        const containerConfig: ImageRunConfig = {
          ...runConfig,
          Cmd: [...shellOf(runConfig), "#(nop) ", change.comment],
        };
        return yield* this.#container(change.state, containerConfig, async () => ({}));
      }
    }
  }

  #expand(instruction: StepInstruction, variables: ReadonlyMap<string, string>): StepInstruction {
    try {
      return expandInstruction(instruction, variables, { escape: this.environment.dockerfile.directives.escape });
    } catch (error) {
      throw errorAt(this.environment, instruction, { code: "invalidArgument", message: (error as Error).message });
    }
  }

  async *#workdir(requested: string, state: StageState): Steps {
    const { snapshots } = this.environment.services;
    const directory = resolveWorkingDirectory(state.runConfig.WorkingDir, requested);
    const runConfig = { ...state.runConfig, WorkingDir: directory };
    const containerConfig: ImageRunConfig = {
      ...runConfig,
      Cmd: [...shellOf(runConfig), `#(nop) WORKDIR ${directory}`],
    };
    return yield* this.#container({ ...state, runConfig }, containerConfig, async () => {
      await using snapshot = await MountedSnapshot.create(snapshots, topLayer(state));
      const rootFd = openDirectory(snapshot.root);
      try {
        closeFd(makeDirectories(rootFd, directory, undefined));
      } finally {
        closeFd(rootFd);
      }
      return { layer: await snapshot.commit() };
    });
  }

  /** A step that Docker makes a container for without running it. */
  async *#container(
    state: StageState,
    containerConfig: ImageRunConfig,
    change: () => Promise<Pick<StepResult, "layer">>,
  ): Steps {
    const { services, options } = this.environment;
    const cached = options.noCache ? undefined : findCached(services, state, { containerConfig });
    if (cached) {
      yield { type: "cached" };
      return withImage(services, state, cached);
    }
    const containerId = newId();
    yield { type: "container", id: containerId };
    const next = await commitStep(services, state, { containerConfig, containerId, ...(await change()) });
    if (options.removeIntermediate || options.forceRemove) yield { type: "containerRemoved", id: containerId };
    return next;
  }
}
