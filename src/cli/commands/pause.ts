import { pathPart } from "../../api/client/index.ts";
import type { Command } from "../command.ts";
import { forEachArgument } from "../each-argument.ts";

export const command: Command = {
  usage: "pause CONTAINER [CONTAINER...]",
  description: "Pause all processes within one or more containers",
  aliases: ["container pause", "pause"],
  flags: [],
  arguments: { min: 1 },
  async run({ args, client }) {
    const engine = await client();
    return await forEachArgument(args, (name) => engine.post(`/containers/${pathPart(name)}/pause`));
  },
};
