/** The closed set of reasons for which the engine refuses or fails. Edges map them to HTTP, exit codes and gRPC. */
export type ErrorCode =
  | "invalidArgument"
  | "notFound"
  | "alreadyExists"
  | "conflict"
  | "notModified"
  | "unauthenticated"
  | "permissionDenied"
  | "unavailable"
  | "resourceExhausted"
  | "unsupported"
  | "cancelled"
  | "internal";

export interface ErrorDetails {
  readonly cause?: unknown;
  /** Values a program may want: the op that failed, its errno, a position in a file. JSON-serialisable. */
  readonly data?: Readonly<Record<string, unknown>>;
}

/** The only error that crosses a room's door. `message` is one sentence for a person: what failed, which value, why. */
export class EngineError extends Error {
  readonly code: ErrorCode;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "EngineError";
    this.code = code;
    this.data = details.data ?? {};
  }
}

/** Wraps any thrown value; an `EngineError` passes unchanged, so that the first cause keeps its code. */
export function toEngineError(thrown: unknown): EngineError {
  if (thrown instanceof EngineError) return thrown;
  // Undoing failed as well (`using`): what people must be told is why there was something to undo.
  if (thrown instanceof SuppressedError) return toEngineError(thrown.suppressed);
  if (thrown instanceof Error) {
    const isFull = ["ENOSPC", "EDQUOT", "SQLITE_FULL"].includes(String((thrown as { code?: unknown }).code));
    return new EngineError(isFull ? "resourceExhausted" : "internal", thrown.message, { cause: thrown });
  }
  return new EngineError("internal", String(thrown));
}
