import type { ApiClient } from "../api/client/index.ts";
import { EngineError } from "../common/index.ts";
import type { Command, Flag } from "./command.ts";
import { type CommandEntry, findCommand, groups } from "./command-table.ts";
import { print, printError } from "./output.ts";
import { UsageError } from "./usage-error.ts";

const globalFlags: readonly Flag[] = [
  { name: "host", short: "H", kind: "list", description: "Engine's socket to connect to (default: Vitrine's own)" },
  { name: "version", short: "v", kind: "bool", description: "Print version information and quit" },
];

/** Exit code of a program that a signal or a wrong flag ended before the engine was asked. */
const flagErrorCode = 125;

/**
 * Runs one command line, without the program's name, and gives its exit code: docker's (125, 126, 127, 128+n). Output goes
 * to the process's own descriptors. It never throws.
 */
export async function runCli(argv: readonly string[]): Promise<number> {
  try {
    return await dispatch(argv);
  } catch (thrown) {
    return report(thrown);
  }
}

async function dispatch(argv: readonly string[]): Promise<number> {
  const position = firstCommand(argv);
  const { host, version, help } = await readGlobals(argv.slice(0, position));
  if (version) {
    const { versionLine } = await import("./version-text.ts");
    print(`${versionLine()}\n`);
    return 0;
  }
  const [name, ...rest] = argv.slice(position);
  if (name === undefined || help) return await printHelp([name, ...rest]);
  if (name === "help") return await printHelp(rest);
  if (Object.hasOwn(groups, name)) return await dispatchGroup(name, rest, host);
  const entry = findCommand(name);
  if (!entry) throw await unknownCommand(name);
  return await runCommand(entry, { path: name, argv: rest, host });
}

async function dispatchGroup(groupName: string, argv: readonly string[], host: string | undefined): Promise<number> {
  const group = groups[groupName];
  const [name, ...rest] = argv;
  if (!group || name === undefined || name === "--help" || name === "help") return await printHelp([groupName]);
  const real = group.aliases[name] ?? name;
  const entry = Object.hasOwn(group.commands, real) ? group.commands[real] : undefined;
  if (!entry) throw await unknownCommand(`${groupName} ${name}`);
  return await runCommand(entry, { path: `${groupName} ${name}`, argv: rest, host });
}

async function runCommand(
  entry: CommandEntry,
  call: { path: string; argv: readonly string[]; host: string | undefined },
): Promise<number> {
  const [{ command }, { parseCommand }] = await Promise.all([entry.load(), import("./parse-command.ts")]);
  const path = `vitrine ${call.path}`;
  let parsed;
  try {
    parsed = parseCommand(command, call.argv, path);
  } catch (thrown) {
    if (!(thrown instanceof UsageError)) throw thrown;
    throw await withUsage(thrown, command, path);
  }
  if (parsed.help) {
    const { commandHelp } = await import("./help.ts");
    print(commandHelp(command, path));
    return 0;
  }
  let client: Promise<ApiClient> | undefined;
  const connectOnce = (): Promise<ApiClient> =>
    (client ??= import("./connection.ts").then(({ connect }) => connect(call.host)));
  try {
    return await command.run({ flags: parsed.flags, args: parsed.args, commandPath: path, client: connectOnce });
  } catch (thrown) {
    return report(thrown, { command, path });
  } finally {
    // The failure to connect is the command's own; here it must not be reported twice.
    void client?.then((open) => open.close()).catch(() => {});
  }
}

/** Global flags end at the first word that is no flag; only `-H` and `--host` take the next word. */
function firstCommand(argv: readonly string[]): number {
  let position = 0;
  while (position < argv.length) {
    const word = argv[position] ?? "";
    if (!word.startsWith("-")) break;
    position += word === "-H" || word === "--host" ? 2 : 1;
  }
  return position;
}

async function readGlobals(argv: readonly string[]): Promise<{ host?: string; version: boolean; help: boolean }> {
  if (argv.length === 0) return { version: false, help: false };
  const { parseFlags } = await import("./parse-command.ts");
  try {
    const { flags, help } = parseFlags(globalFlags, argv, { interspersed: false });
    const [host, ...more] = flags.list("host");
    if (more.length > 0) throw new UsageError("Specify only one -H");
    return { ...(host === undefined ? {} : { host }), version: flags.bool("version"), help };
  } catch (thrown) {
    if (!(thrown instanceof UsageError) || thrown.exitCode !== flagErrorCode) throw thrown;
    const usage = "Usage:  vitrine [OPTIONS] COMMAND [ARG...]\n\nRun 'vitrine --help' for more information";
    throw new UsageError(`${thrown.message}\n\n${usage}`, flagErrorCode);
  }
}

async function printHelp(words: readonly (string | undefined)[]): Promise<number> {
  const [name, second] = words;
  const { commandHelp, groupHelp, rootHelp } = await import("./help.ts");
  if (name === undefined) {
    print(rootHelp(globalFlags));
    return 0;
  }
  const group = Object.hasOwn(groups, name) ? groups[name] : undefined;
  if (group && second === undefined) {
    print(groupHelp(name, group));
    return 0;
  }
  const entry = group ? group.commands[group.aliases[second ?? ""] ?? second ?? ""] : findCommand(name);
  const path = group ? `${name} ${second}` : name;
  if (!entry) throw await unknownCommand(path);
  const { command } = await entry.load();
  print(commandHelp(command, `vitrine ${path}`));
  return 0;
}

async function withUsage(error: UsageError, command: Command, path: string): Promise<UsageError> {
  const { usageLine } = await import("./help.ts");
  return new UsageError(
    `${error.message}\n\n${usageLine(command, path)}\n\n${error.hint} '${path} --help' for more information`,
    error.exitCode,
  );
}

async function unknownCommand(path: string): Promise<UsageError> {
  const { suggestCommands } = await import("./suggest.ts");
  const group = path.includes(" ") ? path.split(" ")[0] : undefined;
  const help = group ? `vitrine ${group} --help` : "vitrine --help";
  return new UsageError(
    `vitrine: unknown command: vitrine ${path}\n${suggestCommands(path)}\nRun '${help}' for more information`,
  );
}

function report(thrown: unknown, context?: { command: Command; path: string }): number {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const data = error instanceof EngineError ? error.data : {};
  const message = data["fromEngine"] === true ? `Error response from daemon: ${error.message}` : error.message;
  if (process.env["VITRINE_DEBUG"]) printError(`${error.stack}\n`);
  const startCode = typeof data["exitCode"] === "number" ? data["exitCode"] : undefined;
  const badUseCode = thrown instanceof UsageError ? context?.command.failureCode : undefined;
  const exitCode = startCode ?? badUseCode;
  if (context && exitCode !== undefined) {
    printError(`vitrine: ${message}\n\nRun '${context.path} --help' for more information\n`);
    return exitCode;
  }
  printError(`${message}\n`);
  return thrown instanceof UsageError ? thrown.exitCode : 1;
}
