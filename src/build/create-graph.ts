import { EngineError } from "../common/index.ts";
import { platformText } from "../registry/index.ts";
import type { ImageRunConfig } from "../spec/index.ts";
import { BuildArguments } from "./build-arguments.ts";
import type { Entitlement, FrontendOptions } from "./build-request.ts";
import { imageKey, platformOfText } from "./build-platform.ts";
import { scratchConfig, type BaseImage, type ConfigState } from "./config-state.ts";
import { faultAt } from "./dockerfile-error.ts";
import { parseGitReference } from "./git-reference.ts";
import { GraphBuilder } from "./graph-builder.ts";
import type { GraphNode, OperationId } from "./operation.ts";
import type { Dockerfile } from "./parse-dockerfile.ts";
import { environmentOf, initialRunConfig } from "./run-config.ts";
import { planChange } from "./plan-change.ts";
import { copyOrigin, stageSources, type Origin, type SourcedStage, type StepInstruction } from "./stage-sources.ts";

/** What one instruction makes of a stage. */
export interface Change {
  readonly instruction: StepInstruction;
  /** The operation whose files the stage has from here on; absent where only the config changes. */
  readonly operation: OperationId | undefined;
  readonly state: ConfigState;
  /**
   * The command of the step's container, as the classic history shows it. A function of the digests of what was copied, for COPY and
   * ADD are told by them.
   */
  readonly command: (sourceDigests: readonly string[]) => readonly string[];
  /** As BuildKit's history shows it. */
  readonly createdBy: string;
  /** Whether the classic builder makes a container for it, and whether the container runs. */
  readonly container: "none" | "made" | "run";
  /** What the result may depend on and the command does not say. */
  readonly surroundings: string;
  /** A line for people. */
  readonly note?: string;
}

/** A line of the Dockerfile. A FROM has a change for each trigger of its base, any other line has one. */
export interface Step {
  /** From 1, as the titles of the classic output count. */
  readonly number: number;
  readonly title: string;
  readonly changes: readonly Change[];
}

export interface PlannedStage {
  readonly index: number;
  readonly name: string | undefined;
  /** Where it is another than this machine's. */
  readonly platform: string | undefined;
  readonly base: BaseImage | undefined;
  /** A stage that this one begins with. */
  readonly baseStage: number | undefined;
  /** The files that it begins with; undefined is nothing. */
  readonly baseOperation: OperationId | undefined;
  readonly start: ConfigState;
  readonly triggers: number;
  readonly steps: readonly Step[];
  readonly end: { readonly operation: OperationId | undefined; readonly state: ConfigState };
  readonly ignoreCache: boolean;
}

export interface BuildPlan {
  readonly nodes: ReadonlyMap<OperationId, GraphNode>;
  /** Those that the target needs, in the Dockerfile's order. */
  readonly stages: readonly PlannedStage[];
  readonly target: PlannedStage;
  readonly metaTitles: readonly string[];
  /** Steps in all, ARGs before the first FROM included. */
  readonly total: number;
  /** Names of build arguments that nothing declares, sorted. */
  readonly unusedArguments: readonly string[];
}

export interface GraphInput {
  readonly dockerfile: Dockerfile;
  readonly options: FrontendOptions;
  readonly images: ReadonlyMap<string, BaseImage>;
  /** Patterns of .dockerignore. */
  readonly exclude: readonly string[];
  readonly entitlements: readonly Entitlement[];
}

/** What the planning of every stage works with. */
export interface Planning {
  readonly input: GraphInput;
  readonly graph: GraphBuilder;
  readonly sources: readonly SourcedStage[];
  /** A stage, planned when it is first asked for: files may come from one that stands later. */
  readonly stage: (index: number) => PlannedStage;
}

/**
 * The graph of a Dockerfile for its target: pure, so the same text, options and images give the same operations. Every image that
 * `stageSources` names must be among `images`. Throws with file, line and caret.
 */
export function createGraph(input: GraphInput): BuildPlan {
  const { dockerfile, options } = input;
  const sourced = stageSources(dockerfile, options, input.images);
  const graph = new GraphBuilder({ byName: options.ofSeveral !== undefined });
  const ended = new Map<number, PlannedStage>();
  const first = firstNumbers(sourced.stages, dockerfile.metaArguments.length);
  const stage = (index: number): PlannedStage => {
    const known = ended.get(index);
    if (known) return known;
    const source = sourced.stages[index];
    if (!source) throw new EngineError("internal", `There is no stage ${index}`);
    const planned = planStage(planning, source, { first: first.get(index) ?? 0, meta: sourced.arguments });
    ended.set(index, planned);
    return planned;
  };
  const planning: Planning = { input, graph, sources: sourced.stages, stage };
  const stages = sourced.stages.filter(({ needed }) => needed).map(({ index }) => stage(index));
  return {
    nodes: graph.nodes,
    stages,
    target: stage(sourced.target),
    metaTitles: dockerfile.metaArguments.map((argument) => argument.source),
    total: dockerfile.metaArguments.length + stages.reduce((sum, { steps }) => sum + steps.length, 0),
    unusedArguments: unusedArguments(sourced.stages, { options, meta: sourced.arguments }),
  };
}

/** Of each needed stage's FROM, as the titles of the classic output count. */
function firstNumbers(stages: readonly SourcedStage[], metaCount: number): Map<number, number> {
  const numbers = new Map<number, number>();
  let next = metaCount + 1;
  for (const { index, needed, instructions } of stages) {
    if (!needed) continue;
    numbers.set(index, next);
    next += instructions.length + 1;
  }
  return numbers;
}

function planStage(
  planning: Planning,
  stage: SourcedStage,
  { first, meta }: { first: number; meta: BuildArguments },
): PlannedStage {
  const ignoreCache = ignoresCache(planning.input.options.noCache, stage);
  const base = beginStage(planning, stage, meta);
  const names = new StepNames(planning, stage);
  let at: StageAt = { operation: base.baseOperation, state: base.start };
  const run = (instruction: StepInstruction): Change => {
    const change = faultAt(planning.input.dockerfile.source, instruction, () =>
      planChange(planning, instruction, { stage, at, name: names.next(instruction, at.state), ignoreCache }),
    );
    at = { operation: change.operation ?? at.operation, state: change.state };
    return change;
  };
  const triggers = stage.triggers.map(run);
  const steps: Step[] = [{ number: first, title: stage.from.source, changes: triggers }];
  for (const instruction of stage.instructions) {
    steps.push({ number: first + steps.length, title: instruction.source, changes: [run(instruction)] });
  }
  const { index, name, platform } = stage;
  return { index, name, platform, ...base, triggers: triggers.length, steps, end: at, ignoreCache };
}

/** Where a stage stands between two instructions. */
export interface StageAt {
  readonly operation: OperationId | undefined;
  readonly state: ConfigState;
}

function beginStage(
  planning: Planning,
  stage: SourcedStage,
  meta: BuildArguments,
): Pick<PlannedStage, "base" | "baseStage" | "baseOperation" | "start"> {
  const { origin } = stage;
  if (origin.kind === "stage") {
    const before = planning.stage(origin.index);
    const start = startState(before.end.state.runConfig, { triggers: stage.triggers.length > 0, meta });
    return { base: before.base, baseStage: origin.index, baseOperation: before.end.operation, start };
  }
  const image = origin.kind === "image" ? planning.input.images.get(imageKey(origin)) : undefined;
  const start = startState((image?.config ?? scratchConfig).config, { triggers: stage.triggers.length > 0, meta });
  const baseOperation = originOperation(planning, origin, stage);
  return { base: image, baseStage: undefined, baseOperation, start };
}

function startState(
  config: ImageRunConfig | undefined,
  { triggers, meta }: { triggers: boolean; meta: BuildArguments },
): ConfigState {
  const runConfig = initialRunConfig(config);
  return {
    runConfig: triggers ? { ...runConfig, OnBuild: null } : runConfig,
    commandSet: false,
    author: "",
    arguments: meta.forStage(),
  };
}

/** The operation with a base's files, or with those that `--from` names. */
function originOperation(planning: Planning, origin: Origin, stage: SourcedStage): OperationId | undefined {
  const { graph, input } = planning;
  switch (origin.kind) {
    case "scratch":
      return undefined;
    case "stage":
      return planning.stage(origin.index).end.operation;
    case "image": {
      const image = input.images.get(imageKey(origin));
      if (!image) throw new EngineError("internal", `The image "${origin.reference}" was not looked up`);
      const { imageId, layers, reference } = image;
      const name = `[${platformPrefix(planning, stage)}${stageLabel(stage)}] FROM ${reference}`;
      return graph.add({ kind: "image", inputs: [], reference, imageId, layers }, { name, ignoreCache: false });
    }
    case "context": {
      const tree = contextOperation(planning, origin);
      // A folder as a base: its files are copied onto nothing.
      const action = {
        type: "copy" as const,
        instruction: "COPY" as const,
        input: 1,
        sources: ["."],
        destination: "/",
        owner: undefined,
        mode: undefined,
        keepOwner: true,
        unpack: false,
        parents: false,
        exclude: [],
        isContext: false,
      };
      const name = `[context ${origin.name}] copy`;
      return graph.add({ kind: "file", inputs: [undefined, tree], actions: [action] }, { name, ignoreCache: false });
    }
  }
}

function contextOperation({ graph }: Planning, origin: Extract<Origin, { kind: "context" }>): OperationId {
  const { target } = origin;
  const about = { name: `[context ${origin.name}] load ${target}`, ignoreCache: false };
  const local = /^local:(.+)$/.exec(target)?.[1];
  if (local !== undefined) return graph.add({ kind: "local", inputs: [], name: local, exclude: [] }, about);
  if (parseGitReference(target, { isContext: true })) {
    return graph.add({ kind: "git", inputs: [], url: target, keepGitDirectory: false }, about);
  }
  if (/^https?:\/\//.test(target)) return graph.add({ kind: "http", inputs: [], url: target }, about);
  throw new EngineError("unsupported", `The context "${origin.name}=${target}" is of a kind that is not built yet`);
}

/** What `--from` of COPY or of a mount stands for: files to read, perhaps none at all. */
export function sourceOperation(
  planning: Planning,
  { from, instruction, stage }: { from: string; instruction: StepInstruction; stage: SourcedStage },
): OperationId | undefined {
  const { dockerfile, options } = planning.input;
  const names = planning.sources.map(({ name }) => name);
  const place = { names, dockerfile, contexts: options.contexts, stage: stage.index, platform: stage.platform };
  const origin = copyOrigin(from, instruction, place);
  if (origin.kind === "context") return contextOperation(planning, origin);
  return originOperation(planning, origin, stage);
}

/** The build's own context. */
export function buildContext({ graph, input }: Planning): OperationId {
  const { context } = input.options;
  if (context !== undefined && context !== "") {
    const origin = { kind: "context" as const, name: "context", target: context };
    return contextOperation({ graph, input } as Planning, origin);
  }
  const about = { name: "[internal] load build context", ignoreCache: false };
  return graph.add({ kind: "local", inputs: [], name: "context", exclude: input.exclude }, about);
}

function ignoresCache(noCache: FrontendOptions["noCache"], stage: SourcedStage): boolean {
  if (typeof noCache === "boolean") return noCache;
  return noCache.some((name) => name.toLowerCase() === stage.name || name === String(stage.index));
}

/** `linux/amd64->arm64 `: where several are built, the stage's platform, and the target's once an ARG names it, as BuildKit says it. */
function platformPrefix({ input }: Planning, stage: SourcedStage, state?: ConfigState): string {
  if (!input.options.ofSeveral) return "";
  const own = platformOfText(stage.platform);
  const variables = state && variablesOf(state);
  const isCross = variables?.has("TARGETPLATFORM") || variables?.has("TARGETARCH");
  const target = platformOfText(input.options.platform);
  const differs = isCross && platformText(target) !== platformText(own);
  return `${platformText(own)}${differs ? `->${platformText({ ...target, os: "" }).slice(1)}` : ""} `;
}

function stageLabel({ name, index }: SourcedStage): string {
  return name ?? `stage-${index}`;
}

/** `[build 2/4] RUN make`: only what makes layers is counted, as BuildKit counts. */
class StepNames {
  #number = 1;
  readonly #total: number;

  constructor(
    readonly planning: Planning,
    readonly stage: SourcedStage,
  ) {
    const makesLayer = ({ kind }: StepInstruction): boolean => ["RUN", "COPY", "ADD", "WORKDIR"].includes(kind);
    this.#total = 1 + [...stage.triggers, ...stage.instructions].filter(makesLayer).length;
  }

  next(instruction: StepInstruction, state: ConfigState): string {
    if (["RUN", "COPY", "ADD", "WORKDIR"].includes(instruction.kind)) this.#number++;
    const label =
      this.planning.sources.length === 1 && this.stage.name === undefined ? "" : `${stageLabel(this.stage)} `;
    const prefix = platformPrefix(this.planning, this.stage, state);
    return `[${prefix}${label}${this.#number}/${this.#total}] ${instruction.source}`;
  }
}

function unusedArguments(
  stages: readonly SourcedStage[],
  { options, meta }: { options: FrontendOptions; meta: BuildArguments },
): string[] {
  const named = new Set(
    stages
      .flatMap((stage) => [...stage.triggers, ...stage.instructions])
      .flatMap((one) => (one.kind === "ARG" ? one.arguments.map(({ key }) => key) : [])),
  );
  const isKnown = (name: string): boolean =>
    named.has(name) || meta.isDeclaredMeta(name) || BuildArguments.isPredefined(name) || name === "SOURCE_DATE_EPOCH";
  return Object.keys(options.arguments)
    .filter((name) => !isKnown(name))
    .toSorted();
}

/** The variables that an instruction may use, ENV before ARG. */
export function variablesOf(state: ConfigState): Map<string, string> {
  const environment = environmentOf(state.runConfig);
  return new Map([...environment, ...state.arguments.values(environment)]);
}
