import type { Command, Flag } from "./command.ts";
import { repeatable } from "./flag-kinds.ts";
import { type CommandGroup, commonCommands, glassCommands, groups, otherCommands } from "./command-table.ts";

const defaultColumns = 80;

/** `vitrine COMMAND --help`, in the layout of docker's. */
export function commandHelp(command: Command, path: string): string {
  const paragraphs = [usageLine(command, path), command.description];
  if (command.details) paragraphs.push(command.details);
  if (command.aliases) {
    const spellings = command.aliases.map((alias) => `vitrine ${alias}`);
    paragraphs.push(`Aliases:\n  ${spellings.join(", ")}`);
  }
  const flags = command.flags.filter((flag) => !flag.hidden);
  if (flags.length > 0) paragraphs.push(`Options:\n${flagTable(flags)}`);
  return `${paragraphs.join("\n\n")}\n`;
}

/** `Usage:  vitrine container rm [OPTIONS] CONTAINER [CONTAINER...]` */
export function usageLine(command: Command, path: string): string {
  return command.usage
    .split("\n")
    .map((usage, index) => `${index === 0 ? "Usage:  " : "\t"}${path}${usage.slice(usage.split(" ", 1)[0]?.length)}`)
    .join("\n");
}

export function groupHelp(name: string, group: CommandGroup): string {
  const rows = Object.entries(group.commands).map(([command, { summary }]) => [command, summary] as const);
  return `Usage:  vitrine ${name} COMMAND

${group.summary}

Commands:
${table(rows)}

Run 'vitrine ${name} COMMAND --help' for more information on a command.
`;
}

export function rootHelp(globalFlags: readonly Flag[]): string {
  const list = (entries: Readonly<Record<string, { summary: string }>>): string =>
    table(Object.entries(entries).map(([name, { summary }]) => [name, summary] as const));
  return `Usage:  vitrine [OPTIONS] COMMAND

A container engine that you can see through

Common Commands:
${list(commonCommands)}

Commands that look inside:
${list(glassCommands)}

Management Commands:
${list(groups)}

Commands:
${list({ ...otherCommands, daemon: { summary: "Run the engine itself" }, registry: { summary: "Serve a registry of images" } })}

Global Options:
${flagTable(globalFlags)}

Run 'vitrine COMMAND --help' for more information on a command.
`;
}

function table(rows: readonly (readonly [string, string])[]): string {
  return rows.map(([name, summary]) => `  ${name.padEnd(11)} ${summary}`).join("\n");
}

/** Two columns as pflag's FlagUsagesWrapped prints them. */
export function flagTable(flags: readonly Flag[]): string {
  const rows = [...flags].sort((left, right) => (left.name < right.name ? -1 : 1)).map(flagRow);
  const indent = Math.max(...rows.map(([left]) => left.length)) + 3;
  const columns = Math.max(process.stdout.columns ?? defaultColumns, indent + 24);
  return rows
    .map(([left, right]) => `${left.padEnd(indent)}${wrap(right, columns - indent).join(`\n${" ".repeat(indent)}`)}`)
    .join("\n");
}

function flagRow(flag: Flag): [string, string] {
  const name = flag.short ? `  -${flag.short}, --${flag.name}` : `      --${flag.name}`;
  const value = flag.kind === "bool" ? "" : ` ${flag.valueName ?? flag.kind}`;
  return [`${name}${value}`, flag.description + defaultText(flag)];
}

function defaultText(flag: Flag): string {
  const value = flag.default;
  if (value === undefined || value === "" || value === 0 || value === false || repeatable.has(flag.kind)) return "";
  return ` (default ${flag.kind === "string" ? JSON.stringify(value) : value})`;
}

function wrap(text: string, width: number): string[] {
  return text.split("\n").flatMap((paragraph) => {
    const lines: string[] = [];
    let line = "";
    for (const word of paragraph.split(/ (?! )/)) {
      if (line !== "" && line.length + 1 + word.length > width) {
        lines.push(line);
        line = word;
      } else {
        line = line === "" ? word : `${line} ${word}`;
      }
    }
    return [...lines, line];
  });
}
