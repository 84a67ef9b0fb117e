import { pathPart } from "../../api/client/index.ts";
import type { Command } from "../command.ts";
import { forEachArgument } from "../each-argument.ts";
import { stopFlags, stopQuery } from "../stop-options.ts";

export const command: Command = {
  usage: "restart [OPTIONS] CONTAINER [CONTAINER...]",
  description: "Restart one or more containers",
  aliases: ["container restart", "restart"],
  flags: stopFlags,
  arguments: { min: 1 },
  async run({ args, flags, client }) {
    const query = stopQuery(flags);
    const engine = await client();
    return await forEachArgument(args, async (name) => {
      await engine.call("POST", `/containers/${pathPart(name)}/restart`, { query });
    });
  },
};
