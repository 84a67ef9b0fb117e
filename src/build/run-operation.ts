// RUN as an operation, with what the history tells of it.
import type { ConfigState } from "./config-state.ts";
import { chompTabs, parseHeredocWord } from "./heredoc.ts";
import { flagValue, type RunInstruction } from "./instruction.ts";
import { resolveCommand } from "./metadata-steps.ts";
import { environmentOf } from "./run-config.ts";

/** What a RUN executes. */
export interface RunCommand {
  readonly command: readonly string[];
  /** A script that is a program of its own: its name and text. */
  readonly script: { readonly name: string; readonly content: string } | undefined;
  /** As the classic history has it: arguments of the build before the command. */
  readonly saved: readonly string[];
  readonly environment: readonly string[];
  readonly quietEnvironment: readonly string[];
}

export function runCommand(instruction: RunInstruction, state: ConfigState): RunCommand {
  const script = programScript(instruction);
  const command = script ? [`/dev/pipes/${script.name}`] : resolveCommand(withHeredocs(instruction), state.runConfig);
  const values = [...state.arguments.values(environmentOf(state.runConfig))];
  const join = ([name, value]: readonly [string, string]): string => `${name}=${value}`;
  const recorded = values.filter(([name]) => state.arguments.isRecorded(name)).map(join);
  const quiet = values.filter(([name]) => !state.arguments.isRecorded(name)).map(join);
  // The bar cannot begin a command, so a step with arguments is never taken for one without.
  const saved = values.length > 0 ? [`|${recorded.length}`, ...recorded, ...command] : command;
  return {
    command,
    script,
    saved,
    environment: [...(state.runConfig.Env ?? []), ...recorded],
    quietEnvironment: quiet,
  };
}

export function networkOf(instruction: RunInstruction, usual: string): string {
  const asked = flagValue(instruction, "network");
  return asked === undefined || asked === "default" ? usual : asked;
}

/** A lone heredoc whose text begins with `#!`. */
function programScript({ command, heredocs }: RunInstruction): { name: string; content: string } | undefined {
  const [first] = heredocs;
  if (!first || !parseHeredocWord(command.arguments.join(" "))) return undefined;
  const content = first.chomp ? chompTabs(first.content) : first.content;
  return content.startsWith("#!") ? { name: first.name, content } : undefined;
}

/** A lone heredoc is the script; beside a command it goes to the shell as it is written. */
function withHeredocs({ command, heredocs }: RunInstruction): RunInstruction["command"] {
  const [first] = heredocs;
  if (!first) return command;
  const text = command.arguments.join(" ");
  if (!parseHeredocWord(text)) {
    const bodies = heredocs.map((heredoc) => `\n${heredoc.content}${heredoc.name}`).join("");
    return { form: "shell", arguments: [text + bodies] };
  }
  return { form: "shell", arguments: [first.chomp ? chompTabs(first.content) : first.content] };
}
