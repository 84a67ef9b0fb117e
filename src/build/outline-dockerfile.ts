// What can be asked of a Dockerfile without building it: its targets, and what a build of one takes.
import { BuildArguments } from "./build-arguments.ts";
import type { FrontendOptions } from "./build-request.ts";
import type { ArgInstruction, Instruction } from "./instruction.ts";
import { parseDockerfile, type Dockerfile } from "./parse-dockerfile.ts";
import { runMounts, type RunMount } from "./run-mounts.ts";
import { expandWord } from "./shell-words.ts";
import { neededStages, targetStage } from "./stage-names.ts";

interface Outlined {
  readonly name: string;
  /** From 1. */
  readonly line: number;
}

export interface BuildOutline {
  readonly targets: readonly {
    readonly name?: string;
    readonly default?: boolean;
    readonly description?: string;
    readonly base: string;
    readonly platform: string;
    readonly line: number;
  }[];
  /** Number of the target that was asked for. */
  readonly target: number;
  /** ARGs that the target's stages have, with the values that a build would give them. */
  readonly args: readonly (Outlined & { readonly value?: string; readonly description?: string })[];
  readonly secrets: readonly (Outlined & { readonly required?: boolean })[];
  readonly ssh: readonly (Outlined & { readonly required?: boolean })[];
}

/** Reads a Dockerfile's outline, in its order. Throws as `parseDockerfile` does, and for a target that it has not. */
export function outlineDockerfile(
  file: { readonly name: string; readonly text: string },
  options: Pick<FrontendOptions, "arguments" | "target">,
): BuildOutline {
  const dockerfile = parseDockerfile(file.text, { fileName: file.name });
  const { stages, directives } = dockerfile;
  const target = targetStage(stages, options.target);
  const meta = metaArguments(dockerfile, BuildArguments.create(options.arguments, stages[target]?.from.name));
  const bases = stages.map(({ from }) => expandWord(from.image, meta.metaValues(), directives));
  const needed = neededStages(dockerfile, bases, String(target)) ?? new Set<number>();
  const instructions = stages.filter((_, index) => needed.has(index)).flatMap((stage) => stage.instructions);
  const mounts = instructions.flatMap((one) => mountsOf(one, dockerfile));
  const secrets = mounts.filter(({ mount }) => mount.type === "secret");
  const agents = mounts.filter(({ mount }) => mount.type === "ssh");
  return {
    targets: stages.map(({ from }, index) => ({
      ...(from.name === undefined ? {} : { name: from.name }),
      ...(index === stages.length - 1 ? { default: true } : {}),
      ...describedAs(descriptionOf(from, from.alias?.name ?? from.name ?? "")),
      base: bases[index] ?? "",
      platform: from.platform ?? "",
      line: from.position.line,
    })),
    target,
    args: argumentsOf(dockerfile, { needed, meta }),
    secrets: secrets.map(outlinedMount),
    ssh: agents.map(outlinedMount),
  };
}

function metaArguments(dockerfile: Dockerfile, start: BuildArguments): BuildArguments {
  let known = start;
  for (const { key, value } of dockerfile.metaArguments.flatMap((one) => one.arguments)) {
    const expanded = value === undefined ? undefined : expandWord(value, known.metaValues(), dockerfile.directives);
    known = known.declareMeta(key, expanded);
  }
  return known;
}

function argumentsOf(
  dockerfile: Dockerfile,
  { needed, meta }: { needed: ReadonlySet<number>; meta: BuildArguments },
): BuildOutline["args"] {
  const found = new Map<string, BuildOutline["args"][number]>();
  const add = (instruction: ArgInstruction, key: string, value: string | undefined): void => {
    if (found.has(key)) return;
    const description = describedAs(descriptionOf(instruction, key));
    found.set(key, { name: key, ...(value ? { value } : {}), ...description, line: instruction.position.line });
  };
  const stages = dockerfile.stages.filter((_, index) => needed.has(index));
  const fromTexts = stages.map(({ from }) => `${from.image} ${from.platform ?? ""}`).join(" ");
  for (const instruction of dockerfile.metaArguments) {
    for (const { key } of instruction.arguments) {
      const isUsed = new RegExp(`\\$(?:${key}\\b|\\{${key}\\b)`).test(fromTexts);
      if (isUsed) add(instruction, key, meta.metaValues().get(key));
    }
  }
  for (const { instructions } of stages) {
    let known = meta.forStage();
    for (const instruction of instructions) {
      if (instruction.kind !== "ARG") continue;
      for (const { key, value } of instruction.arguments) {
        const expanded =
          value === undefined ? undefined : expandWord(value, known.values(new Map()), dockerfile.directives);
        known = known.declare(key, expanded);
        add(instruction, key, known.values(new Map()).get(key));
      }
    }
  }
  return [...found.values()].toSorted((left, right) => left.line - right.line);
}

function mountsOf(instruction: Instruction, { directives }: Dockerfile): { mount: RunMount; line: number }[] {
  if (instruction.kind !== "RUN") return [];
  return runMounts(instruction, new Map(), directives).map((mount) => ({ mount, line: instruction.position.line }));
}

function outlinedMount({ mount, line }: { mount: RunMount; line: number }): Outlined & { required?: boolean } {
  const { id = "", required = false } = mount as { id?: string; required?: boolean };
  return { name: id, ...(required ? { required } : {}), line };
}

/** `# name what it is`, right above. */
function descriptionOf({ comments = [] }: Instruction, name: string): string {
  const comment = comments.findLast((one) => name !== "" && one.startsWith(`${name} `));
  return comment === undefined ? "" : comment.slice(name.length + 1).trim();
}

function describedAs(description: string): { description?: string } {
  return description === "" ? {} : { description };
}
