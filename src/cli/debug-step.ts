import { EngineError } from "../common/index.ts";
import { failedStepId, type ProgressMessage } from "../spec/index.ts";
import type { Invocation } from "./command.ts";
import { printError } from "./output.ts";
import { CommandFailure } from "./usage-error.ts";

/**
 * What `build --debug` does with a build's messages: where a RUN failed, a shell is opened in what it left, with the step's user, directory and
 * variables. The engine removes it all once this client closes its connection, which it does at the end.
 */
export async function debugging({
  flags,
  client,
}: Invocation): Promise<(messages: AsyncIterable<ProgressMessage>) => AsyncIterable<ProgressMessage>> {
  const other = ["progress", "quiet", "output", "load", "push"].find((name) => flags.changed(name));
  if (other !== undefined) throw new CommandFailure(`--debug has the classic text, and goes without --${other}`);
  if (!(await (await client()).ping()).server.startsWith("Vitrine")) {
    throw new CommandFailure("--debug needs a Vitrine engine, which keeps what a failed step left");
  }
  return async function* (messages) {
    for await (const message of messages) {
      if (message.id === failedStepId) await openShell(message.aux as FailedStepTold, client);
      else yield message;
    }
  };
}

interface FailedStepTold {
  readonly Image: string;
  readonly Message: string;
  readonly Code: number;
}

async function openShell({ Image, Message, Code }: FailedStepTold, client: Invocation["client"]): Promise<never> {
  printError(`${Message}\nThis is what the step left. Leave the shell, and it is gone.\n`);
  const [{ command }, { parseCommand }] = await Promise.all([
    import("./commands/run.ts"),
    import("./parse-command.ts"),
  ]);
  const terminal = process.stdin.isTTY && process.stdout.isTTY ? ["--tty"] : [];
  const path = "vitrine run";
  const { flags, args } = parseCommand(command, ["--rm", "--interactive", ...terminal, Image], path);
  await command.run({ flags, args, commandPath: path, client });
  throw new EngineError("internal", Message, { data: { fromStream: true, code: Code } });
}
