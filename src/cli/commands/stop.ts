import { pathPart } from "../../api/client/index.ts";
import type { Command } from "../command.ts";
import { forEachArgument } from "../each-argument.ts";
import { stopFlags, stopQuery } from "../stop-options.ts";

export const command: Command = {
  usage: "stop [OPTIONS] CONTAINER [CONTAINER...]",
  description: "Stop one or more running containers",
  aliases: ["container stop", "stop"],
  flags: stopFlags,
  arguments: { min: 1 },
  async run({ args, flags, client }) {
    const query = stopQuery(flags);
    const engine = await client();
    return await forEachArgument(args, async (name) => {
      await engine.call("POST", `/containers/${pathPart(name)}/stop`, { query });
    });
  },
};
