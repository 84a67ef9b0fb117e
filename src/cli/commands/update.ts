import { pathPart } from "../../api/client/index.ts";
import type { Command, Flag, Invocation } from "../command.ts";
import { containerFlags } from "../container-flags.ts";
import { parseRestartPolicy, toResources } from "../container-request/index.ts";
import { forEachArgument } from "../each-argument.ts";
import { printError } from "../output.ts";
import { CommandFailure } from "../usage-error.ts";

const names = [
  "blkio-weight",
  "cpu-period",
  "cpu-quota",
  "cpu-rt-period",
  "cpu-rt-runtime",
  "cpu-shares",
  "cpus",
  "cpuset-cpus",
  "cpuset-mems",
  "memory",
  "memory-reservation",
  "memory-swap",
  "pids-limit",
];
const restart: Flag = {
  name: "restart",
  kind: "string",
  description: "Restart policy to apply when a container exits",
};

export const command: Command = {
  usage: "update [OPTIONS] CONTAINER [CONTAINER...]",
  description: "Update configuration of one or more containers",
  aliases: ["container update", "update"],
  flags: [...containerFlags.filter((flag) => names.includes(flag.name)), restart],
  arguments: { min: 1 },
  run: updateContainers,
};

async function updateContainers({ flags, args, client }: Invocation): Promise<number> {
  if (![...names, "restart"].some((name) => flags.changed(name))) {
    throw new CommandFailure("you must provide one or more flags when using this command");
  }
  const resources = toResources(flags);
  const body = {
    ...resources,
    PidsLimit: flags.changed("pids-limit") ? resources.PidsLimit : null,
    RestartPolicy: parseRestartPolicy(flags.string("restart")),
  };
  const engine = await client();
  return await forEachArgument(args, async (name) => {
    const path = `/containers/${pathPart(name)}/update`;
    const { Warnings } = await engine.post<{ Warnings?: string[] | null }>(path, { body });
    for (const warning of Warnings ?? []) printError(`${warning}\n`);
  });
}
