import { copyOptions, runMounts, type Dockerfile } from "../../src/build/index.ts";

type Instruction = Dockerfile["stages"][number]["instructions"][number] | Dockerfile["stages"][number]["from"];

/**
 * What the parser made of a Dockerfile, one instruction a line: `line:column-lastLine KEYWORD` and its members as JSON, without
 * those that are empty or say the keyword again. Flags follow as values.
 */
export function describeDockerfile(dockerfile: Dockerfile): string {
  const { directives, metaArguments, stages, warnings } = dockerfile;
  const { escape, ...others } = directives;
  const lines = [
    ...(escape === "\\" ? [] : [`escape ${escape}`]),
    ...Object.entries(others).map(([name, value]) => `${name} ${String(value)}`),
    ...warnings.map((warning) => `warning ${warning}`),
    ...metaArguments.map((instruction) => describeInstruction(instruction, escape)),
  ];
  for (const stage of stages) {
    lines.push(describeInstruction(stage.from, escape));
    lines.push(...stage.instructions.map((instruction) => `  ${describeInstruction(instruction, escape)}`));
  }
  return `${lines.join("\n")}\n`;
}

function describeInstruction(instruction: Instruction, escape: string): string {
  const { kind, position, endLine, keyword, source, flags, ...members } = instruction;
  const shown = Object.entries(members).filter(([, value]) => !Array.isArray(value) || value.length > 0);
  const parts = [`${position.line}:${position.column}-${endLine}`, kind];
  if (keyword !== kind) parts.push(`as ${keyword ?? "nothing"}`);
  parts.push(JSON.stringify(Object.fromEntries(shown)));
  // Continued lines are joined in the source, which is what a step's title shows.
  if (endLine > position.line) parts.push(`source ${JSON.stringify(source)}`);
  for (const flag of flags) parts.push(`--${flag.name}=${flag.value}@${flag.position.line}:${flag.position.column}`);
  if (instruction.kind === "RUN" && !flags.some((flag) => flag.name === "mount" && flag.value.includes("$"))) {
    for (const mount of runMounts(instruction, new Map(), { escape })) parts.push(`mount ${JSON.stringify(mount)}`);
  }
  if ((instruction.kind === "COPY" || instruction.kind === "ADD") && flags.some((flag) => flag.value !== "")) {
    if (!flags.some((flag) => flag.value.includes("$"))) parts.push(JSON.stringify(copyOptions(instruction)));
  }
  return parts.join(" ");
}
