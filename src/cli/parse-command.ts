import { Command as Parser, CommanderError, Option } from "commander";
import type { ArgumentRule, Command, Flag } from "./command.ts";
import { repeatable, valueProblem } from "./flag-kinds.ts";
import { FlagValues } from "./flag-values.ts";
import { normaliseArguments } from "./normalise-arguments.ts";
import { UsageError } from "./usage-error.ts";

export interface ParsedCommand {
  readonly flags: FlagValues;
  readonly args: readonly string[];
  readonly help: boolean;
}

/** Parses a command's arguments by its declaration. Throws UsageError in docker's words, without the usage line. */
export function parseCommand(command: Command, argv: readonly string[], commandPath: string): ParsedCommand {
  const parsed = parseFlags(command.flags, argv, { interspersed: command.interspersed ?? true });
  if (!parsed.help) checkArgumentCount(command.arguments, parsed.args.length, commandPath);
  return parsed;
}

/** Flags alone; `args` is what is left. */
export function parseFlags(
  flags: readonly Flag[],
  argv: readonly string[],
  options: { interspersed: boolean },
): ParsedCommand {
  const values = new Map<string, string[]>();
  const parser = new Parser().exitOverride().helpOption(false).allowExcessArguments();
  parser.configureOutput({ writeErr: () => {}, writeOut: () => {} });
  let help = false;
  addOption(parser, "help", () => (help = true));
  for (const flag of flags) {
    addOption(parser, flag.name, (text) => {
      const problem = valueProblem(flag, text);
      if (problem !== undefined) {
        const name = flag.short ? `-${flag.short}, --${flag.name}` : `--${flag.name}`;
        throw new UsageError(
          `invalid argument ${JSON.stringify(text)} for ${JSON.stringify(name)} flag: ${problem}`,
          125,
        );
      }
      const before = repeatable.has(flag.kind) ? (values.get(flag.name) ?? []) : [];
      values.set(flag.name, [...before, ...(flag.kind === "strings" ? text.split(",") : [text])]);
    });
  }
  try {
    parser.parse(normaliseArguments(argv, flags, options), { from: "user" });
  } catch (thrown) {
    if (thrown instanceof CommanderError) throw new UsageError(thrown.message.replace(/^error: /, ""), 125);
    throw thrown;
  }
  const defaults = new Map(flags.map((flag) => [flag.name, String(flag.default ?? "")]));
  return { flags: new FlagValues(values, defaults), args: parser.args, help };
}

function addOption(parser: Parser, name: string, take: (text: string) => void): void {
  const option = new Option(`--${name} <value>`).argParser(take);
  // `--no-trunc` is a flag of that name here, not the negation of `--trunc`.
  option.negate = false;
  parser.addOption(option);
}

function checkArgumentCount(rule: ArgumentRule, count: number, commandPath: string): void {
  const { min, max } = rule;
  const plural = (amount: number): string => `${amount} argument${amount === 1 ? "" : "s"}`;
  if (count >= min && (max === undefined || count <= max)) return;
  if (max === 0) throw new UsageError(`vitrine: '${commandPath}' accepts no arguments`);
  if (max === min) throw new UsageError(`vitrine: '${commandPath}' requires ${plural(min)}`);
  if (max === undefined) throw new UsageError(`vitrine: '${commandPath}' requires at least ${plural(min)}`, 1, "See");
  if (count > max && min === 0) throw new UsageError(`vitrine: '${commandPath}' requires at most ${plural(max)}`);
  throw new UsageError(`vitrine: '${commandPath}' requires at least ${min} and at most ${plural(max)}`);
}
