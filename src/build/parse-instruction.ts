import { goDurationProblem, parseGoDuration } from "../common/index.ts";
import type { HealthConfig } from "../spec/index.ts";
import { DockerfileFault, type Position } from "./dockerfile-error.ts";
import { isSpace, quote, trimSpace, trimSpaceLeft, whitespaceRun } from "./characters.ts";
import { heredocsOfLine, parseHeredocWord, chompTabs, type HeredocWord } from "./heredoc.ts";
import {
  parseCommandLine,
  parseJsonStrings,
  parseList,
  parsePairs,
  splitQuotedWords,
  splitWhitespace,
  type ArgumentText,
} from "./instruction-arguments.ts";
import { checkFlags, splitOnce, takeFlags } from "./instruction-flags.ts";
import {
  instructionNames,
  type CopyInstruction,
  type FromInstruction,
  type Heredoc,
  type Instruction,
  type InstructionFlag,
  type InstructionName,
  type RunInstruction,
} from "./instruction.ts";
import { checkRunMount } from "./run-mounts.ts";
import { expandWord } from "./shell-words.ts";
import type { LogicalLine } from "./source-lines.ts";
import { didYouMean } from "./suggest.ts";

/** What an instruction's parser needs: its arguments, its place, and where heredoc bodies come from. */
interface Scope {
  readonly name: InstructionName;
  readonly input: ArgumentText;
  readonly flags: readonly InstructionFlag[];
  readonly position: Position;
  readonly source: string;
  readonly keyword: string;
  readonly heredocs: readonly Heredoc[];
}

export interface ParseSurroundings {
  readonly escape: string;
  /** Reads a heredoc's body from the lines that follow. */
  readHeredoc(terminator: string, options: { chomp: boolean; position: Position }): string;
  /** The line of the file that was read last. */
  currentLine(): number;
  /** The comments right above the instruction. */
  readonly comments: readonly string[];
}

/** Parses one logical line, and the heredocs after it, into a typed instruction. Throws `DockerfileFault`. */
export function parseInstruction(line: LogicalLine, surroundings: ParseSurroundings): Instruction {
  try {
    return parseStatement(line, surroundings);
  } catch (error) {
    if (error instanceof DockerfileFault) throw error;
    // The lexer of words knows no places: a quote that does not end, for one.
    throw new DockerfileFault((error as Error).message, line.positionAt(0));
  }
}

function parseStatement(line: LogicalLine, surroundings: ParseSurroundings): Instruction {
  const start = line.text.length - trimSpaceLeft(line.text).length;
  const statement = line.slice(start);
  const position = statement.positionAt(0);
  const source = trimSpace(statement.text);
  const blank = whitespaceRun.exec(source);
  const written = blank ? source.slice(0, blank.index) : source;
  const name = instructionNames.find((known) => known === written.toUpperCase());
  if (!name)
    throw new DockerfileFault(`unknown instruction: ${written}${didYouMean(written, instructionNames)}`, position);
  const restStart = blank ? blank.index + blank[0].length : source.length;
  const rest = statement.slice(restStart);
  const { flags, rest: argumentStart } = takeFlags(rest, surroundings.escape);
  const argumentLine = rest.slice(argumentStart);
  const input: ArgumentText = {
    text: trimSpace(argumentLine.text),
    escape: surroundings.escape,
    positionAt: (offset) => argumentLine.positionAt(offset),
  };
  const heredocs = readHeredocs(name, input, { line: source, position, surroundings });
  const checked = checkFlags(flags, name);
  const scope: Scope = { name, input, flags: checked, position, source, keyword: written, heredocs };
  return name === "ONBUILD" ? parseOnbuild(scope, argumentLine, surroundings) : parseKind(scope, surroundings);
}

function readHeredocs(
  name: InstructionName,
  input: ArgumentText,
  where: { line: string; position: Position; surroundings: ParseSurroundings },
): Heredoc[] {
  if (!where.line.includes("<<") || !mayOpenHeredoc(name, input)) return [];
  return heredocsOfLine(where.line).map((word: HeredocWord): Heredoc => {
    const { chomp } = word;
    return { ...word, content: where.surroundings.readHeredoc(word.name, { chomp, position: where.position }) };
  });
}

function mayOpenHeredoc(name: InstructionName, input: ArgumentText): boolean {
  if (name === "ONBUILD") {
    return /^(RUN|COPY|ADD)\b/i.test(input.text) && !/^\w+\s+\[.*\]$/s.test(input.text);
  }
  return (name === "RUN" || name === "COPY" || name === "ADD") && parseJsonStrings(input) === undefined;
}

function parseKind(scope: Scope, surroundings: ParseSurroundings): Instruction {
  const { name, input, position, source, flags, keyword } = scope;
  const { comments } = surroundings;
  const base = { position, source, flags, keyword, comments, endLine: surroundings.currentLine() };
  switch (name) {
    case "FROM":
      return { ...base, kind: name, ...parseFrom(scope) };
    case "ARG":
      return { ...base, kind: name, arguments: parseArguments(scope) };
    case "ENV":
    case "LABEL":
      return { ...base, kind: name, pairs: parsePairs(input, name) };
    case "COPY":
    case "ADD":
      return { ...base, kind: name, ...parseCopy(scope) };
    case "RUN":
      return { ...base, kind: name, ...parseRun(scope) };
    case "CMD":
    case "ENTRYPOINT":
      return { ...base, kind: name, command: parseCommandLine(input) };
    case "SHELL":
      return { ...base, kind: name, shell: parseShell(scope) };
    case "HEALTHCHECK":
      return { ...base, kind: name, health: parseHealthcheck(scope) };
    case "EXPOSE":
      return { ...base, kind: name, values: atLeastOne(scope, splitWhitespace(input.text)).toSorted() };
    case "VOLUME":
      return { ...base, kind: name, values: parseVolumes(scope) };
    case "WORKDIR":
      return { ...base, kind: name, value: exactlyOne(scope) };
    case "USER":
    case "STOPSIGNAL":
    case "MAINTAINER":
      return { ...base, kind: name, value: exactlyOne(scope) };
    case "ONBUILD":
      throw new Error("ONBUILD is parsed with the line that it holds");
  }
}

function atLeastOne(scope: Scope, values: string[]): string[] {
  if (values.length === 0) throw new DockerfileFault(`${scope.name} requires at least one argument`, scope.position);
  return values;
}

function exactlyOne({ name, input, position }: Scope): string {
  if (input.text === "") throw new DockerfileFault(`${name} requires exactly one argument`, position);
  return input.text;
}

function parseFrom({ input, flags }: Scope): Pick<FromInstruction, "image" | "platform" | "name" | "alias"> {
  const words = splitWhitespace(input.text);
  const [image, as, written] = words;
  const platform = flags.find((flag) => flag.name === "platform")?.value;
  const withPlatform = platform === undefined ? {} : { platform };
  if (image !== undefined && words.length === 1) return { image, ...withPlatform };
  if (image === undefined || words.length !== 3 || as?.toLowerCase() !== "as" || written === undefined) {
    throw new DockerfileFault("FROM requires either one or three arguments", input.positionAt(0));
  }
  const name = written.toLowerCase();
  if (!/^[a-z][a-z0-9-_.]*$/.test(name)) {
    throw new DockerfileFault(
      `invalid name for build stage: ${quote(written)}, name can't start with a number or contain symbols`,
      input.positionAt(input.text.lastIndexOf(written)),
    );
  }
  return { image, name, alias: { as, name: written }, ...withPlatform };
}

function parseArguments(scope: Scope): { key: string; value?: string }[] {
  const words = splitQuotedWords(scope.input);
  atLeastOne(
    scope,
    words.map((word) => word.text),
  );
  return words.map(({ text, offset }) => {
    const [key, value] = splitOnce(text, "=");
    if (key === "") throw new DockerfileFault("ARG names can not be blank", scope.input.positionAt(offset));
    return value === undefined ? { key } : { key, value };
  });
}

function parseCopy(scope: Scope): Pick<CopyInstruction, "sources" | "files" | "destination"> {
  const { name, input, heredocs } = scope;
  const words = parseList(input);
  const destination = words.pop();
  if (destination === undefined || words.length === 0) {
    throw new DockerfileFault(
      `${name} requires at least two arguments, but only one was provided. Destination could not be determined`,
      scope.position,
    );
  }
  if (parseHeredocWord(destination)) {
    throw new DockerfileFault(`${name} cannot accept a heredoc as a destination`, input.positionAt(0));
  }
  const from = scope.flags.find((flag) => flag.name === "from");
  if (from && expandWord(from.value, new Map(), { escape: input.escape }) !== from.value) {
    throw new DockerfileFault(
      "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
      from.position,
    );
  }
  const files = heredocs.map((file) => (file.chomp ? { ...file, content: chompTabs(file.content) } : file));
  return { sources: words.filter((word) => !parseHeredocWord(word)), files, destination };
}

function parseRun(scope: Scope): Pick<RunInstruction, "command" | "heredocs"> {
  for (const flag of scope.flags) {
    if (flag.name === "mount") checkRunMount(flag.value, flag.position);
    if (flag.name === "network" && !["default", "none", "host"].includes(flag.value)) {
      throw new DockerfileFault(`invalid network mode ${quote(flag.value)}`, flag.position);
    }
    if (flag.name === "security" && !["insecure", "sandbox"].includes(flag.value)) {
      throw new DockerfileFault(`security ${quote(flag.value)} is not valid`, flag.position);
    }
  }
  const command = parseCommandLine(scope.input);
  atLeastOne(scope, [...command.arguments]);
  return { command, heredocs: scope.heredocs };
}

function parseShell(scope: Scope): readonly string[] {
  const json = parseJsonStrings(scope.input);
  if (json) return atLeastOne(scope, json);
  atLeastOne(scope, splitWhitespace(scope.input.text));
  throw new DockerfileFault(
    `SHELL requires the arguments to be in JSON form: ${quote(scope.input.text)} is not`,
    scope.input.positionAt(0),
  );
}

function parseVolumes(scope: Scope): string[] {
  return atLeastOne(scope, parseList(scope.input)).map((volume) => {
    const trimmed = trimSpace(volume);
    if (trimmed === "") {
      throw new DockerfileFault("VOLUME specified can not be an empty string", scope.input.positionAt(0));
    }
    return trimmed;
  });
}

function parseHealthcheck(scope: Scope): HealthConfig {
  const { input, flags, position } = scope;
  if (input.text === "") throw new DockerfileFault("HEALTHCHECK requires at least one argument", position);
  const end = Array.from(input.text).findIndex(isSpace);
  const type = (end < 0 ? input.text : input.text.slice(0, end)).toUpperCase();
  const restText = end < 0 ? "" : trimSpace(input.text.slice(end));
  if (type === "NONE") {
    if (restText !== "") throw new DockerfileFault("HEALTHCHECK NONE takes no arguments", position);
    const [flag] = flags;
    if (flag) throw new DockerfileFault(`HEALTHCHECK NONE takes no flag: --${flag.name}`, flag.position);
    return { Test: ["NONE"] };
  }
  if (type !== "CMD") {
    throw new DockerfileFault(`Unknown type ${quote(type)} in HEALTHCHECK (try CMD)`, input.positionAt(0));
  }
  const command = parseCommandLine({ ...input, text: restText });
  if (command.arguments.length === 0) throw new DockerfileFault("Missing command after HEALTHCHECK CMD", position);
  const health: HealthConfig = { Test: [command.form === "exec" ? "CMD" : "CMD-SHELL", ...command.arguments] };
  for (const flag of flags) setHealthFlag(health, flag);
  return health;
}

const healthFields = {
  interval: "Interval",
  timeout: "Timeout",
  "start-period": "StartPeriod",
  "start-interval": "StartInterval",
} as const;

function setHealthFlag(health: HealthConfig, flag: InstructionFlag): void {
  if (flag.value === "") return;
  if (flag.name === "retries") {
    if (!/^[+-]?\d{1,10}$/.test(flag.value) || Math.abs(Number(flag.value)) > 0x7fffffff) {
      throw new DockerfileFault(`invalid number of retries: ${quote(flag.value)}`, flag.position);
    }
    if (Number(flag.value) < 0) {
      throw new DockerfileFault(`--retries cannot be negative (${Number(flag.value)})`, flag.position);
    }
    if (Number(flag.value) > 0) health.Retries = Number(flag.value);
    return;
  }
  const durationNs = parseGoDuration(flag.value);
  if (durationNs === undefined) throw new DockerfileFault(goDurationProblem(flag.value), flag.position);
  if (durationNs === 0) return;
  if (durationNs < 1e6) {
    throw new DockerfileFault(`Interval ${quote(flag.name)} cannot be less than 1ms`, flag.position);
  }
  health[healthFields[flag.name as keyof typeof healthFields]] = durationNs;
}

function parseOnbuild(scope: Scope, argumentLine: LogicalLine, surroundings: ParseSurroundings): Instruction {
  const { input, position, source, flags, keyword, heredocs } = scope;
  if (input.text === "") throw new DockerfileFault("ONBUILD requires at least one argument", position);
  const trigger = (input.text.split(whitespaceRun)[0] ?? "").toUpperCase();
  if (trigger === "ONBUILD") {
    throw new DockerfileFault("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", input.positionAt(0));
  }
  if (trigger === "FROM" || trigger === "MAINTAINER") {
    throw new DockerfileFault(`${trigger} isn't allowed as an ONBUILD trigger`, input.positionAt(0));
  }
  // Parsed now only to be refused now: what a later build would choke on is this author's mistake.
  const bodies = [...heredocs];
  parseInstruction(argumentLine, { ...surroundings, readHeredoc: () => bodies.shift()?.content ?? "" });
  const tail = heredocs.map((heredoc) => `\n${heredoc.content}${heredoc.name}`).join("");
  const endLine = surroundings.currentLine();
  const { comments } = surroundings;
  return { kind: "ONBUILD", position, source, flags, keyword, comments, endLine, expression: input.text + tail };
}
