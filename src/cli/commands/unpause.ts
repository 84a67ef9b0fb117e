import { pathPart } from "../../api/client/index.ts";
import type { Command } from "../command.ts";
import { forEachArgument } from "../each-argument.ts";

export const command: Command = {
  usage: "unpause CONTAINER [CONTAINER...]",
  description: "Unpause all processes within one or more containers",
  aliases: ["container unpause", "unpause"],
  flags: [],
  arguments: { min: 1 },
  async run({ args, client }) {
    const engine = await client();
    return await forEachArgument(args, (name) => engine.post(`/containers/${pathPart(name)}/unpause`));
  },
};
