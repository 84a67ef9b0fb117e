import type { ImageConfig } from "../spec/index.ts";
import type { LintReporter } from "./lint-reporter.ts";
import { lintRules } from "./lint-rules.ts";
import type { Instruction } from "./instruction.ts";
import { defaultPath } from "./run-config.ts";
import { nearestOf } from "./suggest.ts";

/** What the checks know at one point of a stage. */
export class LintScope {
  /** Last CMD, ENTRYPOINT and HEALTHCHECK of the stage itself: those that another makes useless. */
  readonly lastOf = new Map<string, Instruction>();

  private constructor(
    readonly environment: Map<string, string>,
    /** Names of ARG, with and without a value. */
    readonly declared: Set<string>,
    readonly flags: {
      /** False where nobody looked the base image up: what it sets is not known. */
      environmentKnown: boolean;
      workdirSet: boolean;
      hasShell: boolean;
    },
    readonly triggers: string[],
  ) {}

  /** Of a stage that begins with an image; `undefined` is one that is not known, `null` is scratch. */
  static ofImage(config: ImageConfig["config"] | null | undefined): LintScope {
    const environment = new Map([["PATH", defaultPath]]);
    for (const entry of config?.Env ?? []) {
      const at = entry.indexOf("=");
      environment.set(at < 0 ? entry : entry.slice(0, at), at < 0 ? "" : entry.slice(at + 1));
    }
    const hasShell = (config?.Shell ?? []).length > 0;
    const flags = { environmentKnown: config !== undefined, workdirSet: false, hasShell };
    return new LintScope(environment, new Set(), flags, [...(config?.OnBuild ?? [])]);
  }

  /** Of a stage that goes on from this one. */
  next(): LintScope {
    const { environment, declared, flags, triggers } = this;
    return new LintScope(new Map(environment), new Set(declared), { ...flags }, [...triggers]);
  }

  /** Tells of variables that nothing has set, of those that an instruction names. */
  watch(instruction: Instruction, reporter: LintReporter): (name: string, isSet: boolean) => void {
    const reported = new Set<string>();
    return (name, isSet) => {
      if (isSet || !this.flags.environmentKnown || this.declared.has(name) || reported.has(name)) return;
      if (name.startsWith("BUILDKIT_SBOM_SCAN_")) return;
      reported.add(name);
      const nearest = nearestOf(name, [...this.environment.keys()]);
      const proposal = nearest === undefined ? "" : ` (did you mean $${nearest}?)`;
      reporter.report(lintRules.undefinedVar, instruction, `Usage of undefined variable '$${name}'${proposal}`);
    };
  }
}
