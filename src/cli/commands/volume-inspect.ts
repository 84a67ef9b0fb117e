import type { Command } from "../command.ts";
import { objectFormatFlag } from "../common-flags.ts";
import { inspectObjects } from "../inspect-objects.ts";

export const command: Command = {
  usage: "inspect [OPTIONS] VOLUME [VOLUME...]",
  description: "Display detailed information on one or more volumes",
  flags: [objectFormatFlag],
  arguments: { min: 1 },
  async run({ flags, args, client }) {
    return await inspectObjects(await client(), { names: args, types: ["volume"], flags });
  },
};
