// `# check=skip=…;error=true` (Dockerfile reference, "check").
import { EngineError } from "../common/index.ts";
import { splitOnce } from "./instruction-flags.ts";
import { parseBool } from "./run-mount-fields.ts";

export interface LintConfig {
  readonly skip: ReadonlySet<string> | "all";
  readonly experimental: ReadonlySet<string> | "all";
  /** Whether a finding fails the build. */
  readonly error: boolean;
}

const nothing: LintConfig = { skip: new Set(), experimental: new Set(), error: false };

/** Reads the directive's value. Throws `invalidArgument` with Docker's words. */
export function parseLintConfig(text: string): LintConfig {
  let config = nothing;
  const trimmed = text.trim();
  if (trimmed === "") return config;
  for (const part of trimmed.split(";")) {
    const [written, value] = splitOnce(part, "=");
    const key = written.trim();
    if (value === undefined) throw refused(`invalid check option "${part}"`);
    if (key === "skip") config = { ...config, skip: names(value) };
    else if (key === "experimental") config = { ...config, experimental: names(value) };
    else if (key === "error") {
      const error = parseBool(value.trim());
      if (error === undefined) throw refused(`failed to parse check option "${part}": "${value.trim()}" is no boolean`);
      config = { ...config, error };
    } else throw refused(`invalid check option "${key}"`);
  }
  return config;
}

/** The config with what the first `check=` of some comments adds. One that cannot be read adds nothing. */
export function parseCheckComment(config: LintConfig, comments: readonly string[]): LintConfig {
  const value = comments.map((comment) => /^check\s*=\s*(\S+)/i.exec(comment)?.[1]).find((text) => text !== undefined);
  if (value === undefined) return config;
  let added: LintConfig;
  try {
    added = parseLintConfig(value);
  } catch {
    return config;
  }
  return {
    skip: union(config.skip, added.skip),
    experimental: union(config.experimental, added.experimental),
    error: config.error,
  };
}

function names(value: string): ReadonlySet<string> | "all" {
  const trimmed = value.trim();
  return trimmed === "all" ? "all" : new Set(trimmed.split(",").map((name) => name.trim()));
}

function union(left: ReadonlySet<string> | "all", right: ReadonlySet<string> | "all"): ReadonlySet<string> | "all" {
  return left === "all" || right === "all" ? "all" : new Set([...left, ...right]);
}

function refused(message: string): EngineError {
  return new EngineError("invalidArgument", `failed to parse check options: ${message}`);
}
