import { EngineError, toEngineError } from "../common/index.ts";

/** The same failure with the exit code that docker gives it: 127 not found, 126 not executable, else 125. */
export function startFailure(thrown: unknown): EngineError {
  const error = toEngineError(thrown);
  if (error.data["exitCode"] !== undefined) return error;
  const exitCode = startFailureCode(error);
  return new EngineError(error.code, error.message, { cause: error, data: { ...error.data, exitCode } });
}

function startFailureCode(error: EngineError): number {
  if (error.data["fromEngine"] !== true) return 125;
  const { message } = error;
  if (/executable file not found|no such file or directory|system cannot find the file specified/.test(message)) {
    return 127;
  }
  return /permission denied|is a directory/.test(message) ? 126 : 125;
}
