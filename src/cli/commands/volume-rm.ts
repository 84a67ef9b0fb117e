import { pathPart } from "../../api/client/index.ts";
import type { Command } from "../command.ts";
import { forEachArgument } from "../each-argument.ts";

export const command: Command = {
  usage: "rm [OPTIONS] VOLUME [VOLUME...]",
  description: "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
  aliases: ["volume rm", "volume remove"],
  flags: [{ name: "force", short: "f", kind: "bool", description: "Force the removal of one or more volumes" }],
  arguments: { min: 1 },
  async run({ flags, args, client }) {
    const engine = await client();
    const query = { force: flags.bool("force") || undefined };
    return await forEachArgument(args, (name) => engine.delete(`/volumes/${pathPart(name)}`, query));
  },
};
