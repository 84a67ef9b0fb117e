import { type ApiClient, pathPart } from "../../api/client/index.ts";
import type { ContainerInspect } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { detachKeysFlag } from "../common-flags.ts";
import { toDetachKeys } from "../detach-keys-flag.ts";
import { describeFailure } from "../each-argument.ts";
import { printError, printLine } from "../output.ts";
import { runAttached } from "../run-attached.ts";
import { UsageError } from "../usage-error.ts";

export const command: Command = {
  usage: "start [OPTIONS] CONTAINER [CONTAINER...]",
  description: "Start one or more stopped containers",
  aliases: ["container start", "start"],
  flags: [
    { name: "attach", short: "a", kind: "bool", description: "Attach STDOUT/STDERR and forward signals" },
    detachKeysFlag,
    { name: "interactive", short: "i", kind: "bool", description: "Attach container's STDIN" },
  ],
  arguments: { min: 1 },
  run: startContainers,
};

async function startContainers(invocation: Invocation): Promise<number> {
  const { flags, args, client } = invocation;
  toDetachKeys(flags.string("detach-keys"));
  const engine = await client();
  if (!flags.bool("attach") && !flags.bool("interactive")) return await startAll(engine, args);
  if (args.length > 1) throw new UsageError("you cannot start and attach multiple containers at once");
  const container = await engine.get<ContainerInspect>(`/containers/${pathPart(args[0] ?? "")}/json`);
  const tty = container.Config.Tty ?? false;
  return await runAttached(engine, {
    id: container.Id,
    tty,
    stdin: flags.bool("interactive") && (container.Config.OpenStdin ?? false),
    stdout: true,
    stderr: true,
    detachKeys: flags.string("detach-keys"),
    autoRemove: container.HostConfig.AutoRemove ?? false,
    signalProxy: !tty,
  });
}

async function startAll(engine: ApiClient, names: readonly string[]): Promise<number> {
  const failed: string[] = [];
  for (const name of names) {
    try {
      await engine.post(`/containers/${pathPart(name)}/start`, { accept: [304] });
      printLine(name);
    } catch (thrown) {
      printError(`${describeFailure(thrown)}\n`);
      failed.push(name);
    }
  }
  if (failed.length > 0) throw new UsageError(`Error: failed to start containers: ${failed.join(", ")}`);
  return 0;
}
