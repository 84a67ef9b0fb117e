// What `import -c` and `commit -c` may change of a config, as moby's dockerfile.BuildFromConfig does it.
import { posix } from "node:path";
import type { ImageRunConfig } from "../spec/index.ts";
import { expandText, invalid, jsonForm, splitPairs, splitWords } from "./change-words.ts";
import { parseHealthcheck } from "./healthcheck-change.ts";

interface Change {
  readonly config: ImageRunConfig;
  readonly text: string;
  readonly lookup: (name: string) => string | undefined;
  /** Whether a CMD came earlier among the changes: else an ENTRYPOINT drops the command it was not made for. */
  readonly commandSet: boolean;
}

const instructions: Record<string, (change: Change) => Partial<ImageRunConfig>> = {
  CMD: ({ config, text }) => ({ Cmd: commandForm(text, config) }),
  ENTRYPOINT: ({ config, text, commandSet }) => {
    const entrypoint = text === "" ? null : commandForm(text, config);
    const Entrypoint = entrypoint?.length === 0 ? null : entrypoint;
    return commandSet ? { Entrypoint } : { Entrypoint, Cmd: null };
  },
  ENV: ({ config, text, lookup }) => ({ Env: changeEnvironment(config.Env ?? [], { text, lookup }) }),
  EXPOSE: ({ config, text, lookup }) => ({
    ExposedPorts: { ...config.ExposedPorts, ...asSet(splitWords(text, lookup).flatMap(portRange)) },
  }),
  HEALTHCHECK: ({ text, config }) => ({ Healthcheck: parseHealthcheck(text, (command) => shellForm(command, config)) }),
  LABEL: ({ config, text, lookup }) => ({
    Labels: { ...config.Labels, ...Object.fromEntries(pairsOrLegacy("LABEL", { text, lookup })) },
  }),
  ONBUILD: ({ config, text }) => ({ OnBuild: [...(config.OnBuild ?? []), checkTrigger(text)] }),
  STOPSIGNAL: ({ text, lookup }) => ({ StopSignal: checkSignal(expandText(text, lookup)) }),
  USER: ({ text, lookup }) => ({ User: expandText(text, lookup) }),
  VOLUME: ({ config, text, lookup }) => ({
    Volumes: { ...config.Volumes, ...asSet(volumePaths(jsonForm(text) ?? splitWords(text, lookup))) },
  }),
  WORKDIR: ({ config, text, lookup }) => ({
    WorkingDir: posix.resolve("/", config.WorkingDir ?? "", expandText(text, lookup)),
  }),
};
/** These may stand without arguments: `CMD []` is written so too. */
const mayBeEmpty = ["CMD", "ENTRYPOINT"];

/**
 * A copy of the config with the changes made in order; each is a Dockerfile instruction: `CMD ["sh"]`, `ENV a=b`.
 * Throws invalidArgument for another instruction or wrong arguments.
 */
export function applyConfigChanges(config: ImageRunConfig, changes: readonly string[]): ImageRunConfig {
  let result = config;
  let commandSet = false;
  for (const line of changes.flatMap(logicalLines)) {
    const [, name = "", text = ""] = /^(\S+)\s*([\s\S]*)$/.exec(line) ?? [];
    const instruction = name.toUpperCase();
    const apply = Object.hasOwn(instructions, instruction) ? instructions[instruction] : undefined;
    if (!apply) throw invalid(`${name.toLowerCase()} is not a valid change command`);
    if (text === "" && !mayBeEmpty.includes(instruction))
      throw invalid(`${instruction} requires at least one argument`);
    result = { ...result, ...apply({ config: result, text, lookup: environmentOf(result), commandSet }) };
    if (instruction === "CMD") commandSet = true;
  }
  return result;
}

function logicalLines(change: string): string[] {
  return change
    .replace(/\\[ \t]*\n/g, "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

function environmentOf(config: ImageRunConfig): (name: string) => string | undefined {
  return (name) => config.Env?.findLast((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1);
}

function commandForm(text: string, config: ImageRunConfig): string[] {
  return jsonForm(text) ?? (text === "" ? [] : shellForm(text, config));
}

function shellForm(command: string, config: ImageRunConfig): string[] {
  return [...(config.Shell ?? ["/bin/sh", "-c"]), command];
}

type Words = { text: string; lookup: Change["lookup"] };

function changeEnvironment(environment: readonly string[], words: Words): string[] {
  const result = [...environment];
  for (const [name, value] of pairsOrLegacy("ENV", words)) {
    const index = result.findIndex((entry) => entry.startsWith(`${name}=`));
    if (index === -1) result.push(`${name}=${value}`);
    else result[index] = `${name}=${value}`;
  }
  return result;
}

/** `NAME rest of the line` is the form before there were pairs. */
function pairsOrLegacy(instruction: string, { text, lookup }: Words): [string, string][] {
  const legacy = /^([^\s='"]+)\s+([\s\S]+)$/.exec(text);
  if (legacy) return [[legacy[1] ?? "", expandText(legacy[2] ?? "", lookup)]];
  if (/^[^\s='"]+$/.test(text)) throw invalid(`${instruction} must have two arguments`);
  return splitPairs(text, { instruction, lookup });
}

/** `80`, `80/udp`, `8000-8010/tcp` → ports of the config's form. */
function portRange(text: string): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? first);
  if (!match || first < 1 || last > 65_535 || first > last) throw invalid(`Invalid containerPort: ${text}`);
  const protocol = (match[3] ?? "tcp").toLowerCase();
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`);
}

function volumePaths(paths: readonly string[]): string[] {
  if (paths.length === 0) throw invalid("VOLUME requires at least one argument");
  if (paths.some((path) => path.trim() === "")) throw invalid("VOLUME specified can not be an empty string");
  return [...paths];
}

function asSet(keys: readonly string[]): Record<string, Record<string, never>> {
  return Object.fromEntries(keys.map((key) => [key, {}]));
}

function checkTrigger(text: string): string {
  const name = (/^\S+/.exec(text)?.[0] ?? "").toUpperCase();
  if (name === "ONBUILD") throw invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (name === "FROM" || name === "MAINTAINER") throw invalid(`${name} isn't allowed as an ONBUILD trigger`);
  return text;
}

function checkSignal(text: string): string {
  const isNumber = /^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= 64;
  const isName = /^(SIG)?([A-Z]+[A-Z0-9]*|RTMIN(\+\d+)?|RTMAX(-\d+)?)$/i.test(text);
  if (!isNumber && !isName) throw invalid(`Invalid signal: ${text}`);
  return text;
}
