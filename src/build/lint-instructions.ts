// Checks of one instruction after another: they follow the variables of a stage as a build would.
import { posix } from "node:path";
import type { IgnoreRules } from "../spec/index.ts";
import { quote } from "./characters.ts";
import { expandInstruction } from "./expand-instruction.ts";
import {
  flagValue,
  type ArgInstruction,
  type CommandInstruction,
  type CopyInstruction,
  type EnvInstruction,
  type HealthcheckInstruction,
  type Instruction,
  type LabelInstruction,
  type ListInstruction,
  type WorkdirInstruction,
} from "./instruction.ts";
import type { LintReporter } from "./lint-reporter.ts";
import { lintRules } from "./lint-rules.ts";
import type { LintScope } from "./lint-scope.ts";
import { runMounts } from "./run-mounts.ts";
import { expandWord, expandWords, type LexerOptions } from "./shell-words.ts";

export interface StageLint {
  readonly scope: LintScope;
  readonly reporter: LintReporter;
  readonly escape: string;
  /** `--build-arg` and ARGs before the first FROM. */
  readonly given: ReadonlyMap<string, string>;
  readonly meta: ReadonlyMap<string, string>;
  readonly ignore: IgnoreRules | undefined;
}

/** Reports on an instruction and takes note of what it sets. Throws an Error with Docker's words where it cannot be expanded. */
export function lintInstruction(written: Instruction, stage: StageLint): void {
  if (written.kind === "ARG") return lintArg(written, stage);
  const { scope, reporter, escape } = stage;
  const lexing: LexerOptions = { escape, onVariable: scope.watch(written, reporter) };
  const instruction = expandInstruction(written, scope.environment, lexing);
  switch (instruction.kind) {
    case "ENV":
    case "LABEL":
      return lintPairs(instruction, stage);
    case "RUN":
      runMounts(instruction, scope.environment, lexing);
      return;
    case "CMD":
    case "ENTRYPOINT":
      if (instruction.command.form === "shell" && instruction.command.arguments.length > 0)
        lintShellForm(instruction, stage);
      return lintLast(instruction, stage);
    case "HEALTHCHECK":
      return lintLast(instruction, stage);
    case "SHELL":
      scope.flags.hasShell = true;
      return;
    case "WORKDIR":
      return lintWorkdir(instruction, stage);
    case "EXPOSE":
      return lintPorts(instruction, stage);
    case "COPY":
    case "ADD":
      return lintCopy(instruction, stage);
    case "ONBUILD":
      scope.triggers.push(instruction.expression);
      return;
    default:
  }
}

function lintArg(instruction: ArgInstruction, { scope, reporter, escape, given, meta }: StageLint): void {
  const onVariable = scope.watch(instruction, reporter);
  for (const { key, value } of instruction.arguments) {
    lintSecret(instruction, key, reporter);
    const fallback = (): string | undefined =>
      value === undefined ? meta.get(key) : expandWord(value, scope.environment, { escape, onVariable });
    const known = given.get(key) ?? fallback();
    if (known !== undefined) scope.environment.set(key, known);
    scope.declared.add(key);
  }
}

function lintPairs(instruction: EnvInstruction | LabelInstruction, { scope, reporter }: StageLint): void {
  const keyword = instruction.keyword ?? instruction.kind;
  for (const { key, value, legacy } of instruction.pairs) {
    if (legacy) {
      const detail = `"${keyword} key=value" should be used instead of legacy "${keyword} key value" format`;
      reporter.report(lintRules.legacyKeyValueFormat, instruction, detail);
    }
    if (instruction.kind === "LABEL") continue;
    lintSecret(instruction, key, reporter);
    scope.environment.set(key, value);
  }
}

// Whole words between underscores, as in DATABASE_PASSWORD; what follows them may say that it is none.
const secretWords = "apikey|auth|credential|credentials|key|password|pword|passwd|secret|token";
const secretName = new RegExp(`(?:_|^)(?:${secretWords})(?:_|$)`, "i");
const harmlessName = /(?:_|^)(?:public|file|version)(?:_|$)/i;

function lintSecret(instruction: ArgInstruction | EnvInstruction, name: string, reporter: LintReporter): void {
  if (!secretName.test(name) || harmlessName.test(name)) return;
  const what = `${instruction.kind} ${quote(name)}`;
  const detail = `Do not use ARG or ENV instructions for sensitive data (${what})`;
  reporter.report(lintRules.secretsUsedInArgOrEnv, instruction, detail);
}

function lintShellForm(instruction: CommandInstruction, { scope, reporter }: StageLint): void {
  // Whoever says SHELL wants a shell.
  if (scope.flags.hasShell) return;
  const keyword = instruction.keyword ?? instruction.kind;
  const detail = `JSON arguments recommended for ${keyword} to prevent unintended behavior related to OS signals`;
  reporter.report(lintRules.jsonArgsRecommended, instruction, detail);
}

function lintLast(instruction: CommandInstruction | HealthcheckInstruction, { scope, reporter }: StageLint): void {
  const before = scope.lastOf.get(instruction.kind);
  scope.lastOf.set(instruction.kind, instruction);
  if (!before) return;
  const keyword = instruction.keyword ?? instruction.kind;
  const detail = `Multiple ${keyword} instructions should not be used in the same stage because only the last one will be used`;
  reporter.report(lintRules.multipleInstructionsDisallowed, before, detail);
}

function lintWorkdir(instruction: WorkdirInstruction, { scope, reporter }: StageLint): void {
  if (!scope.flags.workdirSet && !instruction.value.startsWith("/")) {
    const detail = `Relative workdir ${quote(instruction.value)} can have unexpected results if the base image changes`;
    reporter.report(lintRules.workdirRelativePath, instruction, detail);
  }
  // One absolute path makes all that follow right.
  scope.flags.workdirSet = true;
}

function lintPorts(instruction: ListInstruction, { scope, reporter, escape }: StageLint): void {
  for (const port of instruction.values.flatMap((value) => expandWords(value, scope.environment, { escape }))) {
    const protocol = port.slice(port.lastIndexOf(":") + 1).split("/", 2)[1] ?? "";
    if (protocol !== protocol.toLowerCase()) {
      const detail = `Defined protocol '${port}' in EXPOSE instruction should be lowercase`;
      reporter.report(lintRules.exposeProtoCasing, instruction, detail);
    }
    if (port.includes(":")) {
      const detail = `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`;
      reporter.report(lintRules.exposeInvalidFormat, instruction, detail);
    }
  }
}

function lintCopy(instruction: CopyInstruction, { reporter, ignore }: StageLint): void {
  // With exceptions nobody can tell whether something of a folder stays.
  if (!ignore || ignore.hasExceptions || flagValue(instruction, "from") !== undefined) return;
  const word = instruction.kind === "ADD" ? "Add" : "Copy";
  for (const written of instruction.sources) {
    if (/^(https?|git|ssh):\/\/|^git@/.test(written)) continue;
    const source = posix.normalize(written).replace(/(?<=.)\/$/, "");
    const isRoot = source === "." || source === "/";
    const ignored = isRoot ? ignore.patterns.some((pattern) => everything.has(pattern)) : ignore.ignores(source);
    if (!ignored) continue;
    const detail = `Attempting to ${word} file ${quote(source)} that is excluded by .dockerignore`;
    reporter.report(lintRules.copyIgnoredFile, instruction, detail);
  }
}

const everything: ReadonlySet<string> = new Set(["*", "**", "**/*"]);
