import { EngineError } from "../common/index.ts";

/** A place in a Dockerfile; both count from 1. A column counts UTF-16 code units, as editors do. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** What an error needs to show the place it speaks of. */
export interface SourceText {
  readonly fileName: string;
  /** As it is in the file. */
  readonly text: string;
  /** Physical lines without their ends. */
  readonly lines: readonly string[];
}

/** A fault at a place; the parser that knows the file turns it into an `EngineError` by `faultToError`. */
export class DockerfileFault extends Error {
  constructor(
    message: string,
    readonly position: Position,
    readonly code: "invalidArgument" | "unsupported" = "invalidArgument",
  ) {
    super(message);
  }
}

/**
 * Docker's sentence, then the file, the line and a caret below the column:
 *
 *     dockerfile parse error on line 3: unknown instruction: FORM (did you mean FROM?)
 *     Dockerfile:3:1
 *        3 | FORM vitrine/base
 *          | ^
 *
 * `data` holds `{file, line, column, sentence}`.
 */
export function faultToError(fault: DockerfileFault, source: SourceText): EngineError {
  const { line, column } = fault.position;
  const sentence =
    fault.code === "unsupported" ? fault.message : `dockerfile parse error on line ${line}: ${fault.message}`;
  return new EngineError(fault.code, `${sentence}\n${showPlace(fault.position, source)}`, {
    data: { file: source.fileName, line, column, sentence },
  });
}

/** `file:line:column`, the line itself, and a caret below the column. */
export function showPlace({ line, column }: Position, { fileName, lines }: SourceText): string {
  const text = (lines[line - 1] ?? "").replaceAll("\r", "");
  const gutter = String(line).padStart(4);
  // Tabs are kept in the caret's line, so that it stands below its column whatever their width is.
  const indent = text
    .slice(0, column - 1)
    .replace(/[^\t]/g, " ")
    .padEnd(column - 1);
  return `${fileName}:${line}:${column}\n${gutter} | ${text}\n${" ".repeat(gutter.length)} | ${indent}^`;
}

/** Adds the place of an instruction to whatever `action` throws, unless that names a place already. */
export function faultAt<Result>(source: SourceText, instruction: { position: Position }, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    if (error instanceof DockerfileFault) throw faultToError(error, source);
    const known = error instanceof EngineError;
    if (known && error.data["line"] !== undefined) throw error;
    const { position } = instruction;
    throw new EngineError(
      known ? error.code : "invalidArgument",
      `${(error as Error).message}\n${showPlace(position, source)}`,
      {
        data: {
          ...(known ? error.data : {}),
          file: source.fileName,
          ...position,
          sentence: (error as Error).message,
        },
      },
    );
  }
}
