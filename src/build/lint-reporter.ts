import type { EngineError } from "../common/index.ts";
import { parseCheckComment, type LintConfig } from "./lint-config.ts";
import type { LintRule } from "./lint-rules.ts";

/** A finding: data for whoever shows it. */
export interface LintWarning {
  readonly rule: string;
  /** What the rule is about. */
  readonly description: string;
  /** Where it is documented; "" where it is not. */
  readonly url: string;
  /** What was found, in one sentence. */
  readonly detail: string;
  /** Lines of the Dockerfile, from 1. */
  readonly firstLine: number;
  readonly lastLine: number;
}

export interface LintResult {
  /** In the order of their lines. */
  readonly warnings: readonly LintWarning[];
  /** What ends a build: a variable that must be set, say; or, with `error=true`, that there are warnings. */
  readonly error?: EngineError;
  /** The error, where it is none of the Dockerfile but that there are warnings. */
  readonly violation?: EngineError;
}

/** Where something is: an instruction, or what has its lines. */
export interface LintPlace {
  readonly position: { readonly line: number };
  readonly endLine: number;
  readonly comments?: readonly string[];
}

/** Collects what rules find, but for those that a Dockerfile skips. */
export class LintReporter {
  readonly warnings: LintWarning[] = [];

  constructor(readonly config: LintConfig) {}

  /** `# check=skip=…` in a comment right above an instruction holds for that instruction. */
  report(rule: LintRule, place: LintPlace, detail: string): void {
    this.#add(rule, place, { detail, config: parseCheckComment(this.config, place.comments ?? []) });
  }

  /** For rules about the file as a whole: comments of one instruction do not skip them. */
  reportWhole(rule: LintRule, place: LintPlace, detail: string): void {
    this.#add(rule, place, { detail, config: this.config });
  }

  #add(rule: LintRule, place: LintPlace, { detail, config }: { detail: string; config: LintConfig }): void {
    const { skip, experimental } = config;
    const silent = rule.experimental
      ? experimental !== "all" && !experimental.has(rule.name)
      : skip === "all" || skip.has(rule.name);
    if (silent) return;
    const { name, description, url } = rule;
    this.warnings.push({
      rule: name,
      description,
      url,
      detail,
      firstLine: place.position.line,
      lastLine: Math.max(place.position.line, place.endLine),
    });
  }
}
