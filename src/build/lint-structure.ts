// Checks that need no values: how a Dockerfile is written, and how its stages are named.
import { parseReference } from "../spec/index.ts";
import { quote } from "./characters.ts";
import type { FromInstruction, Instruction } from "./instruction.ts";
import type { LintReporter } from "./lint-reporter.ts";
import { lintRules } from "./lint-rules.ts";
import type { Dockerfile } from "./parse-dockerfile.ts";

const reservedNames: ReadonlySet<string> = new Set(["context", "scratch"]);

/** Reports on all stages, whichever is built. */
export function lintStructure(dockerfile: Dockerfile, reporter: LintReporter): void {
  for (const { endLine } of dockerfile.emptyContinuations) {
    const place = { position: { line: endLine }, endLine };
    reporter.reportWhole(lintRules.noEmptyContinuation, place, "Empty continuation line");
  }
  for (const instruction of allInstructions(dockerfile)) lintWriting(instruction, reporter);
  lintStageNames(dockerfile, reporter);
  lintKeywordCasing(dockerfile, reporter);
}

/** FROM lines whose image would be no reference if nobody gave build arguments: `expand` knows the defaults only. */
export function lintDefaultImages(
  dockerfile: Dockerfile,
  reporter: LintReporter,
  expand: (text: string) => string,
): void {
  for (const { from } of dockerfile.stages) {
    try {
      parseReference(expand(from.image));
    } catch {
      const detail = `Default value for ARG ${from.image} results in empty or invalid base image name`;
      reporter.reportWhole(lintRules.invalidDefaultArgInFrom, from, detail);
    }
  }
}

function allInstructions({ metaArguments, stages }: Dockerfile): Instruction[] {
  return [...metaArguments, ...stages.flatMap((stage) => [stage.from, ...stage.instructions])];
}

function lintWriting(instruction: Instruction, reporter: LintReporter): void {
  if (instruction.kind === "MAINTAINER") {
    const detail = "Maintainer instruction is deprecated in favor of using label";
    reporter.report(lintRules.maintainerDeprecated, instruction, detail);
  }
  if (instruction.kind === "FROM") {
    lintAlias(instruction, reporter);
    if (instruction.name !== undefined) lintDescription(instruction, [instruction.name], reporter);
  }
  if (instruction.kind === "ARG") {
    const keys = instruction.arguments.map((argument) => argument.key);
    lintDescription(instruction, keys, reporter);
  }
}

function lintAlias(from: FromInstruction, reporter: LintReporter): void {
  const { alias, keyword = "FROM" } = from;
  if (!alias) return;
  if (alias.name !== alias.name.toLowerCase()) {
    reporter.report(lintRules.stageNameCasing, from, `Stage name '${alias.name}' should be lowercase`);
  }
  const wanted = isLower(keyword) ? alias.as.toLowerCase() : alias.as.toUpperCase();
  if ((isLower(keyword) || isUpper(keyword)) && alias.as !== wanted) {
    reporter.report(lintRules.fromAsCasing, from, `'${alias.as}' and '${keyword}' keywords' casing do not match`);
  }
}

/** The comment above an ARG or a stage describes it: it begins with its name. */
function lintDescription(instruction: Instruction, keys: readonly string[], reporter: LintReporter): void {
  const comment = instruction.comments?.at(-1);
  const [first = "<arg_key>"] = keys;
  if (comment === undefined || keys.includes(comment.split(" ")[0] ?? "")) return;
  const example = keys.length > 1 ? "<arg_key>" : first;
  const detail = `Comment for ${instruction.kind} should follow the format: \`# ${example} <description>\``;
  reporter.report(lintRules.invalidDefinitionDescription, instruction, detail);
}

function lintStageNames({ stages }: Dockerfile, reporter: LintReporter): void {
  const seen = new Set<string>();
  for (const { from } of stages) {
    if (from.name === undefined) continue;
    if (reservedNames.has(from.name)) {
      const detail = `Stage name should not use the same name as reserved stage ${quote(from.name)}`;
      reporter.reportWhole(lintRules.reservedStageName, from, detail);
    }
    if (seen.has(from.name)) {
      const detail = `Duplicate stage name ${quote(from.name)}, stage names should be unique`;
      reporter.reportWhole(lintRules.duplicateStageName, from, detail);
    }
    seen.add(from.name);
  }
}

/** Keywords of stages as most of them are written; ARGs before the first FROM are not counted. */
function lintKeywordCasing({ stages }: Dockerfile, reporter: LintReporter): void {
  const instructions = stages.flatMap((stage): Instruction[] => [stage.from, ...stage.instructions]);
  const keywordOf = (instruction: Instruction): string => instruction.keyword ?? instruction.kind;
  const lower = instructions.filter((instruction) => isLower(keywordOf(instruction))).length;
  const upper = instructions.filter((instruction) => isUpper(keywordOf(instruction))).length;
  const casing = lower > upper ? "lowercase" : "uppercase";
  for (const instruction of instructions) {
    const keyword = keywordOf(instruction);
    if (lower > upper ? isLower(keyword) : isUpper(keyword)) continue;
    const detail = `Command '${keyword}' should match the case of the command majority (${casing})`;
    reporter.reportWhole(lintRules.consistentInstructionCasing, instruction, detail);
  }
}

function isLower(text: string): boolean {
  return text === text.toLowerCase();
}

function isUpper(text: string): boolean {
  return text === text.toUpperCase();
}
