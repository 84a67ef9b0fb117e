// What checks found, as Docker's frontend answers `frontend.lint` (moby/buildkit, frontend/subrequests/lint) and buildx prints it.
import type { EngineError } from "../common/index.ts";
import type { SourceText } from "./dockerfile-error.ts";
import type { LintResult, LintWarning } from "./lint-reporter.ts";
import type { VertexWarning } from "./progress.ts";

interface Range {
  readonly start: { readonly line: number; readonly character: number };
  readonly end: { readonly line: number; readonly character: number };
}

/** `result.json` of the frontend. */
export interface LintResults {
  readonly warnings: readonly {
    readonly ruleName: string;
    readonly description: string;
    readonly url?: string;
    readonly detail: string;
    readonly location: { readonly sourceIndex?: number; readonly ranges: readonly Range[] };
  }[];
  readonly sources: readonly { readonly filename: string; readonly language: string; readonly data: string }[];
  readonly buildError?: { readonly message: string; readonly location: { readonly ranges: readonly Range[] } };
}

/** What the frontend answers: the data, the same as text, and 1 where something was found. */
export interface LintReport {
  readonly results: LintResults;
  readonly text: string;
  readonly statusCode: 0 | 1;
}

export function lintReport({ warnings, error }: LintResult, source: SourceText): LintReport {
  const data = Buffer.from(source.text).toString("base64");
  const results: LintResults = {
    warnings: warnings.map((warning) => ({
      ruleName: warning.rule,
      description: warning.description,
      ...(warning.url === "" ? {} : { url: warning.url }),
      detail: warning.detail,
      location: { ranges: rangesOf(warning) },
    })),
    sources: [{ filename: source.fileName, language: "Dockerfile", data }],
    ...(error ? { buildError: { message: errorSentence(error), location: { ranges: errorRanges(error) } } } : {}),
  };
  const text = warnings.map((warning) => describeWarning(warning, source)).join("");
  return { results, text, statusCode: warnings.length > 0 || error ? 1 : 0 };
}

/** What `build --check` prints: buildx's words. */
export function describeCheck({ warnings, error }: LintResult, source: SourceText): string {
  const { text } = lintReport({ warnings }, source);
  const count = warnings.length === 1 ? "1 warning has been found!" : `${warnings.length} warnings have been found!`;
  if (warnings.length > 0) return `Check complete, ${count}\n${text}`;
  return error ? "" : "Check complete, no warnings found.\n";
}

/** The warnings of a build, as its progress tells them. */
export function lintStatus(warnings: readonly LintWarning[], place: { vertex: string; file: string }): VertexWarning[] {
  return warnings.map((warning) => ({
    vertex: place.vertex,
    level: 1,
    short: `${warning.rule}: ${warning.detail} (line ${warning.firstLine})`,
    detail: [warning.description],
    url: warning.url,
    file: place.file,
    range: linesOf(warning).map((line) => ({ start: { line, column: 1 }, end: { line, column: 1 } })),
  }));
}

/** A warning with the lines around it: two before and after one line, one before and after several. */
function describeWarning(warning: LintWarning, source: SourceText): string {
  const address = warning.url === "" ? "" : ` - ${warning.url}`;
  return `\nWARNING: ${warning.rule}${address}\n${warning.detail}\n${excerpt(warning, source)}`;
}

function excerpt({ firstLine, lastLine }: LintWarning, { fileName, text }: SourceText): string {
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  const end = Math.min(lastLine, lines.length);
  if (firstLine > lines.length) return "";
  const around = end === firstLine ? 4 : 2;
  let [from, to] = [firstLine, end];
  for (let added = 0; added < around; added++) {
    if (from > 1) {
      from--;
      added++;
    }
    if (to < lines.length) {
      to++;
      added++;
    }
  }
  const shown = lines.slice(from - 1, to).map((line, index) => {
    const number = from + index;
    const mark = number >= firstLine && number <= end ? ">>>" : "   ";
    return ` ${String(number).padStart(3)} | ${mark} ${line}\n`;
  });
  const rule = "--------------------\n";
  return `${fileName}:${firstLine}\n${rule}${shown.join("")}${rule}`;
}

function linesOf({ firstLine, lastLine }: LintWarning): number[] {
  return Array.from({ length: lastLine - firstLine + 1 }, (_, index) => firstLine + index);
}

function rangesOf(warning: LintWarning): Range[] {
  return linesOf(warning).map(lineRange);
}

function lineRange(line: number): Range {
  return { start: { line, character: 0 }, end: { line, character: 0 } };
}

/** Without the excerpt: whoever shows it has the location. */
function errorSentence(error: EngineError): string {
  return error.message.split("\n")[0] ?? "";
}

function errorRanges(error: EngineError): Range[] {
  const line = error.data["line"];
  return typeof line === "number" ? [lineRange(line)] : [];
}
