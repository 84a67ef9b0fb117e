// Checks of FROM lines against the arguments before the first of them.
import type { ImageConfig } from "../spec/index.ts";
import type { FromInstruction } from "./instruction.ts";
import { quote } from "./characters.ts";
import type { LintReporter } from "./lint-reporter.ts";
import { lintRules } from "./lint-rules.ts";
import { expandWord } from "./shell-words.ts";
import { nearestOf } from "./suggest.ts";

/** ARGs before the first FROM. */
export interface MetaLint {
  readonly values: ReadonlyMap<string, string>;
  /** Their names, with and without a value. */
  readonly declared: readonly string[];
}

interface Matches {
  readonly result: string;
  readonly set: ReadonlySet<string>;
  readonly unset: ReadonlySet<string>;
}

/** Returns what the image's name becomes. Throws an Error with Docker's words where that is nothing. */
export function lintFrom(
  from: FromInstruction,
  meta: MetaLint,
  { reporter, escape }: { reporter: LintReporter; escape: string },
): string {
  const image = expandNoting(from.image, meta, escape);
  reportUndeclared(from, image, { meta, reporter });
  if (image.result === "") throw new Error(`base name (${from.image}) should not be blank`);
  if (from.platform) lintPlatform(from, expandNoting(from.platform, meta, escape), { meta, reporter });
  return image.result;
}

function expandNoting(text: string, { values }: MetaLint, escape: string): Matches {
  const set = new Set<string>();
  const unset = new Set<string>();
  const result = expandWord(text, values, {
    escape,
    onVariable: (name, isSet) => (isSet ? set : unset).add(name),
  });
  return { result, set, unset };
}

function reportUndeclared(
  from: FromInstruction,
  { unset }: Matches,
  { meta, reporter }: { meta: MetaLint; reporter: LintReporter },
): void {
  const known = [...meta.declared, ...meta.values.keys()];
  for (const name of unset) {
    if (known.includes(name)) continue;
    const nearest = nearestOf(name, known);
    const proposal = nearest === undefined ? "" : ` (did you mean ${nearest}?)`;
    reporter.report(lintRules.undefinedArgInFrom, from, `FROM argument '${name}' is not declared${proposal}`);
  }
}

function lintPlatform(
  from: FromInstruction,
  matches: Matches,
  { meta, reporter }: { meta: MetaLint; reporter: LintReporter },
): void {
  const written = from.platform ?? "";
  const { result, set, unset } = matches;
  reportUndeclared(from, matches, { meta, reporter });
  const onlyTarget = set.size === 1 && unset.size === 0 && set.has("TARGETPLATFORM");
  if (onlyTarget && result === meta.values.get("TARGETPLATFORM")) {
    const detail = `Setting platform to predefined ${written} in FROM is redundant as this is the default behavior`;
    reporter.report(lintRules.redundantTargetPlatform, from, detail);
  }
  if (result === "") throw new Error(`empty platform value from expression ${written}`);
  const [os = "", architecture = ""] = result.toLowerCase().split("/");
  if (!/^[\w.-]+(\/[\w.-]+){0,2}$/.test(result)) {
    throw new Error(`failed to parse platform ${written}: ${quote(result)} is no platform`);
  }
  // A stage that is named for its platform means it.
  const named = [os, architecture].some((part) => part !== "" && (from.name ?? "").includes(part));
  if (set.size + unset.size > 0 || named) return;
  const detail = `FROM --platform flag should not use constant value ${quote(result)}`;
  reporter.report(lintRules.fromPlatformFlagConstDisallowed, from, detail);
}

/** A base image that is here, but for another platform than the stage's. */
export function lintBasePlatform(
  from: FromInstruction,
  { os, architecture }: ImageConfig,
  { base, meta, reporter, escape }: { base: string; meta: MetaLint; reporter: LintReporter; escape: string },
): void {
  const target = meta.values.get("TARGETPLATFORM") ?? "";
  const expected = from.platform ? expandWord(from.platform, meta.values, { escape }) : target;
  const [wantedOs, wantedArchitecture] = expected.split("/");
  if (os === wantedOs && (wantedArchitecture === undefined || architecture === wantedArchitecture)) return;
  const actual = `${os}/${architecture}`;
  const detail = `Base image ${base} was pulled with platform ${quote(actual)}, expected ${quote(expected)} for current build`;
  reporter.report(lintRules.invalidBaseImagePlatform, from, detail);
}
