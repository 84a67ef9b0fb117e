import { EngineError } from "../common/index.ts";
import type { Directives } from "./directives.ts";
import { DockerfileFault, faultToError, type SourceText } from "./dockerfile-error.ts";
import type { ArgInstruction, FromInstruction, Instruction } from "./instruction.ts";
import { parseInstruction } from "./parse-instruction.ts";
import { checkStageLoops } from "./stage-names.ts";
import { dockerfileLimits, SourceLines, type EmptyContinuation } from "./source-lines.ts";

/** A FROM and what follows it up to the next. */
export interface Stage {
  readonly from: FromInstruction;
  readonly instructions: readonly Exclude<Instruction, FromInstruction>[];
}

export interface Dockerfile {
  readonly source: SourceText;
  readonly directives: Directives;
  /** ARG before the first FROM: for FROM lines, and for stages that name them again. */
  readonly metaArguments: readonly ArgInstruction[];
  readonly stages: readonly Stage[];
  /** What people should know of it, one sentence each. */
  readonly warnings: readonly string[];
  /** Empty lines inside continued ones. */
  readonly emptyContinuations: readonly EmptyContinuation[];
}

/**
 * Parses a whole Dockerfile (docs.docker.com/reference/dockerfile). Throws `invalidArgument` with Docker's words, the
 * file, line and column, and a caret below it; `data` holds `{file, line, column}`.
 */
export function parseDockerfile(text: string, options: { fileName: string }): Dockerfile {
  const { instructions, lines } = parseInstructions(text, options);
  const metaArguments: ArgInstruction[] = [];
  const stages: { from: FromInstruction; instructions: Exclude<Instruction, FromInstruction>[] }[] = [];
  for (const instruction of instructions) {
    const stage = stages.at(-1);
    if (stages.length > dockerfileLimits.stages) {
      const { position } = stages.at(-1)?.from ?? instruction;
      throw faultToError(new DockerfileFault(`more than ${dockerfileLimits.stages} stages`, position), lines.source);
    }
    if (instruction.kind === "FROM") stages.push({ from: instruction, instructions: [] });
    else if (stage) stage.instructions.push(instruction);
    else if (instruction.kind === "ARG") metaArguments.push(instruction);
    else
      throw faultToError(new DockerfileFault("no build stage in current context", instruction.position), lines.source);
  }
  try {
    const last = metaArguments.at(-1);
    if (stages.length === 0 && last) throw new DockerfileFault("dockerfile contains no stages to build", last.position);
    checkStageLoops(stages);
  } catch (error) {
    throw error instanceof DockerfileFault ? faultToError(error, lines.source) : error;
  }
  const [first] = lines.emptyContinuations;
  const { syntax } = lines.directives;
  const warnings = [
    ...(syntax === undefined ? [] : [`[NOTE]: # syntax=${syntax} is noted; Vitrine's own parser reads the file`]),
    ...(first ? [`[WARNING]: Empty continuation line found in line ${first.line} of ${options.fileName}`] : []),
  ];
  const { source, directives, emptyContinuations } = lines;
  return { source, directives, metaArguments, stages, warnings, emptyContinuations };
}

/** Instructions without regard to stages: triggers of ONBUILD, and `--change` of commit and import. */
export function parseInstructions(
  text: string,
  options: { fileName: string },
): { instructions: Instruction[]; lines: SourceLines } {
  if (text.length > dockerfileLimits.sizeBytes) {
    throw new EngineError("invalidArgument", `${options.fileName} is larger than ${dockerfileLimits.sizeBytes} bytes`);
  }
  if (text === "") {
    throw new EngineError("invalidArgument", `the Dockerfile (${options.fileName}) cannot be empty`);
  }
  const lines = new SourceLines(text, options.fileName);
  try {
    return { instructions: readAll(lines), lines };
  } catch (error) {
    throw error instanceof DockerfileFault ? faultToError(error, lines.source) : error;
  }
}

function readAll(lines: SourceLines): Instruction[] {
  const instructions: Instruction[] = [];
  for (let line = lines.next(); line; line = lines.next()) {
    instructions.push(
      parseInstruction(line, {
        escape: lines.directives.escape,
        comments: lines.comments,
        readHeredoc: (terminator, options) => lines.readHeredoc(terminator, options),
        currentLine: () => lines.line,
      }),
    );
  }
  if (instructions.length === 0) {
    throw new DockerfileFault("file with no instructions", { line: Math.max(1, lines.line), column: 1 });
  }
  return instructions;
}
