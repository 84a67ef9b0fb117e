import type { HealthConfig } from "../spec/index.ts";
import type { Position } from "./dockerfile-error.ts";

/** `--name=value` of an instruction, checked against those it knows. */
export interface InstructionFlag {
  readonly name: string;
  /** `true` or `false` for a flag without a value. */
  readonly value: string;
  readonly position: Position;
}

interface InstructionBase {
  readonly position: Position;
  /** Its last line in the file, heredocs included. */
  readonly endLine: number;
  /** The text as written, continuation lines joined: what a step's title shows. */
  readonly source: string;
  readonly flags: readonly InstructionFlag[];
  /** The keyword as written; an instruction that no file holds has none. */
  readonly keyword?: string;
  /** The comments right above it, without their `#`. */
  readonly comments?: readonly string[];
}

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  /** Written as `key value`, without the equals sign. */
  readonly legacy?: true;
}

/** A heredoc of RUN, COPY or ADD. */
export interface Heredoc {
  readonly name: string;
  readonly content: string;
  /** Whether variables in it are replaced: its word was not quoted. */
  readonly expand: boolean;
  /** `<<-`: leading tabs of each line go. */
  readonly chomp: boolean;
  /** The descriptor before `<<`, 0 where none is written. */
  readonly descriptor: number;
}

/** A command line: `shell` is one text for the shell, `exec` an argument vector. */
export interface CommandLine {
  readonly form: "shell" | "exec";
  readonly arguments: readonly string[];
}

export interface FromInstruction extends InstructionBase {
  readonly kind: "FROM";
  readonly image: string;
  readonly platform?: string;
  /** Lower case. */
  readonly name?: string;
  /** How the keyword AS and the name are written. */
  readonly alias?: { readonly as: string; readonly name: string };
}

export interface ArgInstruction extends InstructionBase {
  readonly kind: "ARG";
  readonly arguments: readonly { readonly key: string; readonly value?: string }[];
}

export interface EnvInstruction extends InstructionBase {
  readonly kind: "ENV";
  readonly pairs: readonly KeyValue[];
}

export interface LabelInstruction extends InstructionBase {
  readonly kind: "LABEL";
  readonly pairs: readonly KeyValue[];
  /** Labels of the build's options are taken as they are. */
  readonly literal?: boolean;
}

export interface CopyInstruction extends InstructionBase {
  readonly kind: "COPY" | "ADD";
  readonly sources: readonly string[];
  readonly files: readonly Heredoc[];
  readonly destination: string;
}

export interface RunInstruction extends InstructionBase {
  readonly kind: "RUN";
  readonly command: CommandLine;
  readonly heredocs: readonly Heredoc[];
}

export interface CommandInstruction extends InstructionBase {
  readonly kind: "CMD" | "ENTRYPOINT";
  readonly command: CommandLine;
}

export interface ShellInstruction extends InstructionBase {
  readonly kind: "SHELL";
  readonly shell: readonly string[];
}

export interface HealthcheckInstruction extends InstructionBase {
  readonly kind: "HEALTHCHECK";
  readonly health: HealthConfig;
}

export interface OnbuildInstruction extends InstructionBase {
  readonly kind: "ONBUILD";
  /** The trigger's text, heredocs included. */
  readonly expression: string;
}

export interface ListInstruction extends InstructionBase {
  readonly kind: "EXPOSE" | "VOLUME";
  readonly values: readonly string[];
}

export interface TextInstruction extends InstructionBase {
  readonly kind: "USER" | "STOPSIGNAL" | "MAINTAINER";
  readonly value: string;
}

export interface WorkdirInstruction extends InstructionBase {
  readonly kind: "WORKDIR";
  readonly value: string;
}

export type Instruction =
  | FromInstruction
  | ArgInstruction
  | EnvInstruction
  | LabelInstruction
  | CopyInstruction
  | RunInstruction
  | CommandInstruction
  | ShellInstruction
  | HealthcheckInstruction
  | OnbuildInstruction
  | ListInstruction
  | TextInstruction
  | WorkdirInstruction;

export const instructionNames = [
  "ADD",
  "ARG",
  "CMD",
  "COPY",
  "ENTRYPOINT",
  "ENV",
  "EXPOSE",
  "FROM",
  "HEALTHCHECK",
  "LABEL",
  "MAINTAINER",
  "ONBUILD",
  "RUN",
  "SHELL",
  "STOPSIGNAL",
  "USER",
  "VOLUME",
  "WORKDIR",
] as const;

export type InstructionName = (typeof instructionNames)[number];

/** The value of a flag that may stand once. */
export function flagValue(
  instruction: { readonly flags: readonly InstructionFlag[] },
  name: string,
): string | undefined {
  return instruction.flags.find((flag) => flag.name === name)?.value;
}
