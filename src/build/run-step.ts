import { EngineError, newId } from "../common/index.ts";
import type { ImageRunConfig } from "../spec/index.ts";
import { cancelled, errorAt, type BuildEnvironment } from "./build-environment.ts";
import { chompTabs, parseHeredocWord } from "./heredoc.ts";
import { flagValue, type CommandLine, type RunInstruction } from "./instruction.ts";
import { resolveCommand } from "./metadata-steps.ts";
import { removeSnapshot } from "./mounted-snapshot.ts";
import { OutputQueue } from "./output-queue.ts";
import { environmentOf } from "./run-config.ts";
import { commitStep, findCached, topLayer, withImage, type StageState } from "./stage-state.ts";
import type { StepEvent } from "./step-events.ts";

/** Runs a command on the stage's files and keeps what it changed. */
export async function* runStep(
  environment: BuildEnvironment,
  instruction: RunInstruction,
  state: StageState,
): AsyncGenerator<StepEvent, StageState> {
  const { services, options } = environment;
  refuseUnbuilt(environment, instruction);
  const command = resolveCommand(withHeredocs(environment, instruction), state.runConfig);
  const buildArguments = [...state.arguments.values(environmentOf(state.runConfig))];
  const recorded = buildArguments.filter(([name]) => state.arguments.isRecorded(name)).map(joinPair);
  // The bar cannot begin a command, so a step with arguments is never taken for one without.
  const saved = buildArguments.length > 0 ? [`|${recorded.length}`, ...recorded, ...command] : command;
  const containerConfig: ImageRunConfig = { ...state.runConfig, Cmd: saved, Entrypoint: null };
  const networkMode = networkOf(instruction, options.networkMode);
  const surroundings = networkMode === options.networkMode ? "" : `network=${networkMode}`;
  const cached = options.noCache ? undefined : findCached(services, state, { containerConfig, surroundings });
  if (cached) {
    yield { type: "cached" };
    return withImage(services, state, cached);
  }
  const containerId = newId();
  yield { type: "container", id: containerId };
  const config: ImageRunConfig = {
    ...state.runConfig,
    Cmd: command,
    Entrypoint: null,
    Env: [...(state.runConfig.Env ?? []), ...buildArguments.map(joinPair)],
    Healthcheck: { Test: ["NONE"] },
  };
  try {
    await services.snapshots.prepare(containerId, topLayer(state), { hostFiles: true });
    const exitCode = yield* execute(environment, { id: containerId, config, command, networkMode });
    if (exitCode !== 0) throw failure(command, exitCode);
    const layer = await services.snapshots.commit(containerId);
    const next = await commitStep(services, state, { containerConfig, surroundings, containerId, layer });
    if (options.removeIntermediate || options.forceRemove) yield { type: "containerRemoved", id: containerId };
    return next;
  } catch (error) {
    if (options.forceRemove) yield { type: "containerRemoved", id: containerId };
    throw options.signal?.aborted ? cancelled() : error;
  } finally {
    await removeSnapshot(services.snapshots, containerId);
  }
}

async function* execute(
  { executor, options }: BuildEnvironment,
  step: { id: string; config: ImageRunConfig; command: string[]; networkMode: string },
): AsyncGenerator<StepEvent, number> {
  const queue = new OutputQueue();
  const abandoned = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, abandoned.signal]) : abandoned.signal;
  const work = executor.run({ ...step, snapshotKey: step.id, signal }, (piece) => queue.push(piece));
  let complete = false;
  try {
    for await (const piece of queue.until(work)) yield { type: "output", ...piece };
    complete = true;
  } finally {
    // The reader has gone, or reads too slowly: the command must not outlive its build.
    if (!complete) {
      abandoned.abort();
      await work.catch(() => undefined);
    }
  }
  return (await work).exitCode;
}

function failure(command: readonly string[], exitCode: number): EngineError {
  const message = `The command '${command.join(" ")}' returned a non-zero code: ${exitCode}`;
  return new EngineError("internal", message, { data: { exitCode } });
}

function refuseUnbuilt(environment: BuildEnvironment, { flags }: RunInstruction): void {
  for (const flag of flags) {
    const insecure = flag.name === "security" && flag.value === "insecure";
    if (flag.name !== "mount" && !insecure) continue;
    const message = `RUN --${flag.name}=${flag.value} is not built yet`;
    throw errorAt(environment, flag, { code: "unsupported", message });
  }
}

function networkOf(instruction: RunInstruction, usual: string): string {
  const asked = flagValue(instruction, "network");
  return asked === undefined || asked === "default" ? usual : asked;
}

/** A lone heredoc is the script; beside a command it goes to the shell as it is written. */
function withHeredocs(environment: BuildEnvironment, instruction: RunInstruction): CommandLine {
  const { command, heredocs } = instruction;
  const [first] = heredocs;
  if (!first) return command;
  const text = command.arguments.join(" ");
  if (!parseHeredocWord(text)) {
    const bodies = heredocs.map((heredoc) => `\n${heredoc.content}${heredoc.name}`).join("");
    return { form: "shell", arguments: [text + bodies] };
  }
  const script = first.chomp ? chompTabs(first.content) : first.content;
  if (script.startsWith("#!")) {
    const message = "RUN with a heredoc that begins with #! is not built yet: name the interpreter before the heredoc";
    throw errorAt(environment, instruction, { code: "unsupported", message });
  }
  return { form: "shell", arguments: [script] };
}

function joinPair([name, value]: readonly [string, string]): string {
  return `${name}=${value}`;
}
