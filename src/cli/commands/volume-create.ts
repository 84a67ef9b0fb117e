import type { Volume } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { printLine } from "../output.ts";
import { CommandFailure } from "../usage-error.ts";

export const command: Command = {
  usage: "create [OPTIONS] [VOLUME]",
  description: "Create a volume",
  flags: [
    { name: "driver", short: "d", kind: "string", default: "local", description: "Specify volume driver name" },
    { name: "label", kind: "list", description: "Set metadata for a volume" },
    { name: "name", kind: "string", description: "Specify volume name", hidden: true },
    { name: "opt", short: "o", kind: "map", description: "Set driver specific options" },
  ],
  arguments: { min: 0, max: 1 },
  run: createVolume,
};

async function createVolume({ flags, args, client }: Invocation): Promise<number> {
  const { toMap } = await import("../container-request/environment.ts");
  if (args[0] !== undefined && flags.changed("name")) {
    throw new CommandFailure(
      "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
    );
  }
  const engine = await client();
  const volume = await engine.post<Volume>("/volumes/create", {
    body: {
      Name: args[0] ?? flags.string("name"),
      Driver: flags.string("driver"),
      DriverOpts: toMap(flags.list("opt")),
      Labels: toMap(flags.list("label")),
    },
  });
  printLine(volume.Name);
  return 0;
}
