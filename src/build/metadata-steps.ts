// Instructions that change an image's config and no file. Each gives the config that follows and the comment that
// Docker's classic builder writes into the history.
import { posix } from "node:path";
import { constants } from "node:os";
import { EngineError, formatGoDuration } from "../common/index.ts";
import type { HealthConfig, ImageRunConfig } from "../spec/index.ts";
import { quote } from "./characters.ts";
import type { CommandLine, Instruction, ListInstruction } from "./instruction.ts";
import { parseExposedPorts } from "./ports.ts";
import { shellOf } from "./run-config.ts";
import { expandWords, type Variables } from "./shell-words.ts";
import type { ConfigState } from "./config-state.ts";

export interface MetadataChange {
  /** What the history says after `#(nop) `. */
  readonly comment: string;
  readonly state: ConfigState;
  /** A line for people. */
  readonly note?: string;
}

export type MetadataInstruction = Exclude<Instruction, { kind: "FROM" | "RUN" | "COPY" | "ADD" | "WORKDIR" }>;

export function applyMetadata(
  instruction: MetadataInstruction,
  state: ConfigState,
  lexing: { variables: Variables; escape: string },
): MetadataChange {
  const change = (
    comment: string,
    config: Partial<ImageRunConfig>,
    more: Partial<ConfigState> = {},
  ): MetadataChange => ({
    comment,
    state: { ...state, ...more, runConfig: { ...state.runConfig, ...config } },
  });
  const config = state.runConfig;
  switch (instruction.kind) {
    case "ENV":
      return change(`ENV${pairsText(instruction.pairs)}`, { Env: mergeEnvironment(config.Env, instruction.pairs) });
    case "LABEL": {
      const labels = Object.fromEntries(instruction.pairs.map(({ key, value }) => [key, value]));
      return change(`LABEL${pairsText(instruction.pairs)}`, { Labels: { ...config.Labels, ...labels } });
    }
    case "ARG":
      return applyArguments(instruction, change, state);
    case "MAINTAINER":
      return change(`MAINTAINER ${instruction.value}`, {}, { author: instruction.value });
    case "USER":
      return change(`USER ${instruction.value}`, { User: instruction.value });
    case "STOPSIGNAL":
      checkSignal(instruction.value);
      return change(`STOPSIGNAL ${instruction.value}`, { StopSignal: instruction.value });
    case "SHELL":
      return change(`SHELL ${listText(instruction.shell)}`, { Shell: [...instruction.shell] });
    case "ONBUILD":
      return change(`ONBUILD ${instruction.expression}`, {
        OnBuild: [...(config.OnBuild ?? []), instruction.expression],
      });
    case "CMD": {
      const command = resolveCommand(instruction.command, config);
      const commandSet = state.commandSet || instruction.command.arguments.length > 0;
      return change(`CMD ${quotedList(command)}`, { Cmd: command }, { commandSet });
    }
    case "ENTRYPOINT": {
      const entrypoint = resolveCommand(instruction.command, config);
      // An inherited CMD would become arguments of a program it was not written for.
      const command = state.commandSet ? {} : { Cmd: null };
      return change(`ENTRYPOINT ${quotedList(entrypoint)}`, {
        Entrypoint: entrypoint.length > 0 ? entrypoint : null,
        ...command,
      });
    }
    case "HEALTHCHECK":
      return {
        ...change(`HEALTHCHECK ${healthText(instruction.health)}`, { Healthcheck: instruction.health }),
        ...healthNote(config),
      };
    case "EXPOSE":
      return applyExpose(instruction, change, { config, lexing });
    case "VOLUME": {
      if (instruction.values.includes("")) throw refused("VOLUME specified can not be an empty string");
      const volumes = Object.fromEntries(instruction.values.map((path) => [path, {}]));
      return change(`VOLUME ${listText(instruction.values)}`, { Volumes: { ...config.Volumes, ...volumes } });
    }
  }
}

type Change = (comment: string, config: Partial<ImageRunConfig>, more?: Partial<ConfigState>) => MetadataChange;

function applyArguments(
  instruction: Extract<Instruction, { kind: "ARG" }>,
  change: Change,
  state: ConfigState,
): MetadataChange {
  const texts = instruction.arguments.map(({ key, value }) => (value === undefined ? key : `${key}=${value}`));
  let { arguments: known } = state;
  for (const { key, value } of instruction.arguments) known = known.declare(key, value);
  return change(`ARG ${texts.join(" ")}`, {}, { arguments: known });
}

function applyExpose(
  instruction: ListInstruction,
  change: Change,
  { config, lexing }: { config: ImageRunConfig; lexing: { variables: Variables; escape: string } },
): MetadataChange {
  // A variable may hold several ports: the only instruction whose words are split after the replacement.
  const ports = instruction.values.flatMap((word) => expandWords(word, lexing.variables, { escape: lexing.escape }));
  const exposed = Object.fromEntries(parseExposedPorts(ports).map((port) => [port, {}]));
  return change(`EXPOSE ${ports.join(" ")}`, { ExposedPorts: { ...config.ExposedPorts, ...exposed } });
}

/** The argument vector of a command: shell form goes to the stage's shell. */
export function resolveCommand(command: CommandLine, config: ImageRunConfig): string[] {
  if (command.form === "exec" || command.arguments.length === 0) return [...command.arguments];
  return [...shellOf(config), ...command.arguments];
}

/** WORKDIR's path as it is recorded: absolute and clean. */
export function resolveWorkingDirectory(current: string | undefined, requested: string): string {
  if (requested === "") throw refused("cannot normalize nothing");
  const path = posix.resolve("/", current ?? "", requested);
  return path === "" ? "/" : path;
}

function mergeEnvironment(
  current: readonly string[] | null | undefined,
  pairs: readonly { key: string; value: string }[],
): string[] {
  const environment = [...(current ?? [])];
  for (const { key, value } of pairs) {
    const at = environment.findIndex((entry) => entry === key || entry.startsWith(`${key}=`));
    if (at < 0) environment.push(`${key}=${value}`);
    else environment[at] = `${key}=${value}`;
  }
  return environment;
}

function checkSignal(signal: string): void {
  const name = signal.toUpperCase().replace(/^SIG/, "");
  const known = Object.hasOwn(constants.signals, `SIG${name}`) || /^RTM(IN(\+\d+)?|AX(-\d+)?)$/.test(name);
  const number = /^\d+$/.test(signal) && Number(signal) > 0 && Number(signal) <= 64;
  if (!known && !number) throw refused(`Invalid signal: ${signal}`);
}

function healthNote(config: ImageRunConfig): { note?: string } {
  const test = config.Healthcheck?.Test;
  if (!test || test.length === 0 || test[0] === "NONE") return {};
  return { note: `Note: overriding previous HEALTHCHECK: ${listText(test)}\n` };
}

/** A pointer to Go's HealthcheckConfig as `%+v` prints it. */
function healthText(health: HealthConfig): string {
  const durations = (["Interval", "Timeout", "StartPeriod", "StartInterval"] as const).map(
    (name) => `${name}:${formatGoDuration(health[name] ?? 0)}`,
  );
  return `&{Test:${listText(health.Test ?? [])} ${durations.join(" ")} Retries:${health.Retries ?? 0}}`;
}

function pairsText(pairs: readonly { key: string; value: string }[]): string {
  return pairs.map(({ key, value }) => ` ${key}=${value}`).join("");
}

function listText(values: readonly string[]): string {
  return `[${values.join(" ")}]`;
}

function quotedList(values: readonly string[]): string {
  return `[${values.map(quote).join(" ")}]`;
}

function refused(message: string): EngineError {
  return new EngineError("invalidArgument", message);
}
