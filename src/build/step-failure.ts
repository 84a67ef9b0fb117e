// Where a build failed, and how BuildKit says it.
import { EngineError, toEngineError } from "../common/index.ts";
import type { GraphNode } from "./operation.ts";

/** The error with its operation and its lines in `data`, `{vertex, line, endLine}`, unless it has a place already, or is a cancellation. */
export function stepFailure(thrown: unknown, { id, place }: GraphNode): EngineError {
  const error = toEngineError(thrown);
  if (error.code === "cancelled" || error.data["vertex"] !== undefined) return error;
  const lines =
    place === undefined || error.data["line"] !== undefined
      ? {}
      : { line: place.position.line, endLine: place.endLine };
  return new EngineError(error.code, error.message, { cause: error, data: { ...error.data, ...lines, vertex: id } });
}

/** An error in the words of BuildKit (moby/buildkit, solver/llbsolver/ops/exec.go), and without the excerpt, which its clients make. */
export function buildkitSentence({ message, data }: EngineError): string {
  const { exitCode, command, sentence } = data;
  if (typeof exitCode === "number" && Array.isArray(command)) {
    return `process "${command.join(" ")}" did not complete successfully: exit code: ${exitCode}`;
  }
  return typeof sentence === "string" ? sentence : message;
}
