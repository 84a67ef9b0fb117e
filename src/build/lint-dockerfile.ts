import { EngineError } from "../common/index.ts";
import { parseReference, type IgnoreRules, type ImageConfig } from "../spec/index.ts";
import { BuildArguments } from "./build-arguments.ts";
import { faultAt } from "./dockerfile-error.ts";
import type { Instruction } from "./instruction.ts";
import { parseLintConfig } from "./lint-config.ts";
import { lintBasePlatform, lintFrom, type MetaLint } from "./lint-from.ts";
import { lintInstruction } from "./lint-instructions.ts";
import { LintReporter, type LintResult } from "./lint-reporter.ts";
import { LintScope } from "./lint-scope.ts";
import { lintDefaultImages, lintStructure } from "./lint-structure.ts";
import { parseInstructions, type Dockerfile, type Stage } from "./parse-dockerfile.ts";
import { expandWord } from "./shell-words.ts";
import { neededStages } from "./stage-names.ts";

export interface LintOptions {
  /** `--build-arg`. BUILDKIT_DOCKERFILE_CHECK replaces the `check` directive. */
  readonly arguments?: Readonly<Record<string, string | null>>;
  /** Instructions of other stages than those that it needs are not checked. Absent: all are. */
  readonly target?: string | undefined;
  /** Configs of base images by the reference that FROM has. Variables of a stage whose base is not here are not checked. */
  readonly bases?: ReadonlyMap<string, ImageConfig>;
  /** The context's .dockerignore. */
  readonly ignore?: IgnoreRules | undefined;
}

/** Docker's build checks on a Dockerfile that parses. Pure. */
export function lintDockerfile(dockerfile: Dockerfile, options: LintOptions = {}): LintResult {
  const asked = options.arguments?.["BUILDKIT_DOCKERFILE_CHECK"] ?? dockerfile.directives.check ?? "";
  let reporter: LintReporter;
  try {
    reporter = new LintReporter(parseLintConfig(asked));
  } catch (error) {
    return { warnings: [], error: error as EngineError };
  }
  let error: EngineError | undefined;
  try {
    lintStructure(dockerfile, reporter);
    lintStages(dockerfile, options, reporter);
  } catch (thrown) {
    if (!(thrown instanceof EngineError)) throw thrown;
    error = thrown;
  }
  const warnings = reporter.warnings.toSorted((left, right) => left.firstLine - right.firstLine);
  if (error) return { warnings, error };
  if (!reporter.config.error || warnings.length === 0) return { warnings };
  const rules = [...new Set(warnings.map((warning) => warning.rule))].join(", ");
  const violation = new EngineError("invalidArgument", `lint violation found for rules: ${rules}`);
  return { warnings, error: violation, violation };
}

/** The images that FROM lines name, whose configs `lintDockerfile` wants. Those that cannot be told are left out. */
export function lintBases(dockerfile: Dockerfile, options: Pick<LintOptions, "arguments">): string[] {
  const names = new Set(["scratch"]);
  const references = new Set<string>();
  for (const [index, { from }] of dockerfile.stages.entries()) {
    const before = dockerfile.stages[index - 1]?.from.name;
    if (before !== undefined) names.add(before);
    try {
      const meta = metaArguments(dockerfile, BuildArguments.create(options.arguments ?? {})).metaValues();
      const image = expandWord(from.image, meta, { escape: dockerfile.directives.escape });
      if (names.has(image.toLowerCase())) continue;
      parseReference(image);
      references.add(image);
    } catch {
      // What is wrong with it is the check's to say.
    }
  }
  return [...references];
}

function lintStages(dockerfile: Dockerfile, options: LintOptions, reporter: LintReporter): void {
  const { escape } = dockerfile.directives;
  const given = options.arguments ?? {};
  const targetStage = options.target || dockerfile.stages.at(-1)?.from.name;
  const defaults = metaArguments(dockerfile, BuildArguments.create({}, targetStage)).metaValues();
  lintDefaultImages(dockerfile, reporter, (text) => expandWord(text, defaults, { escape }));
  const meta: MetaLint = {
    values: metaArguments(dockerfile, BuildArguments.create(given, targetStage)).metaValues(),
    declared: dockerfile.metaArguments.flatMap((argument) => argument.arguments.map(({ key }) => key)),
  };
  const bases = dockerfile.stages.map(({ from }) =>
    faultAt(dockerfile.source, from, () => lintFrom(from, meta, { reporter, escape })),
  );
  const needed = neededStages(dockerfile, bases, options.target);
  const scopes: LintScope[] = [];
  for (const [index, stage] of dockerfile.stages.entries()) {
    const base = bases[index] ?? "";
    const inherited = inheritedScope(base, scopes, dockerfile.stages);
    const config = inherited || base === "scratch" ? null : options.bases?.get(base);
    const scope = inherited ?? LintScope.ofImage(config && (config.config ?? null));
    scopes.push(scope);
    if (needed !== undefined && !needed.has(index)) continue;
    if (config) lintBasePlatform(stage.from, config, { base, meta, reporter, escape });
    const values = new Map(
      Object.entries(given).flatMap(([key, value]): [string, string][] => (value === null ? [] : [[key, value]])),
    );
    const context = { scope, reporter, escape, given: values, meta: meta.values, ignore: options.ignore };
    for (const instruction of [...triggersOf(scope, stage), ...stage.instructions]) {
      faultAt(dockerfile.source, instruction, () => lintInstruction(instruction, context));
    }
  }
}

function metaArguments(dockerfile: Dockerfile, start: BuildArguments): BuildArguments {
  const { escape } = dockerfile.directives;
  let known = start;
  for (const instruction of dockerfile.metaArguments) {
    for (const { key, value } of instruction.arguments) {
      const expand = (): string | undefined =>
        value === undefined ? undefined : expandWord(value, known.metaValues(), { escape });
      known = known.declareMeta(key, faultAt(dockerfile.source, instruction, expand));
    }
  }
  return known;
}

/** Of a stage that goes on from an earlier one; undefined for one that begins with an image. */
function inheritedScope(base: string, scopes: readonly LintScope[], stages: readonly Stage[]): LintScope | undefined {
  const stage = stages.slice(0, scopes.length).findLastIndex(({ from }) => from.name === base.toLowerCase());
  return scopes[stage]?.next();
}

/** What ONBUILD of the base has the stage do first, at the place of its FROM. */
function triggersOf(scope: LintScope, stage: Stage): Instruction[] {
  const { position, endLine } = stage.from;
  return scope.triggers.splice(0).flatMap((text) => {
    const { instructions } = parseInstructions(text, { fileName: "an ONBUILD trigger" });
    return instructions.map((instruction) => ({ ...instruction, position, endLine, comments: [] }));
  });
}
