import type { Command } from "../command.ts";
import { objectFormatFlag } from "../common-flags.ts";
import { inspectObjects } from "../inspect-objects.ts";

export const command: Command = {
  usage: "inspect [OPTIONS] NETWORK [NETWORK...]",
  description: "Display detailed information on one or more networks",
  flags: [objectFormatFlag],
  arguments: { min: 1 },
  async run({ flags, args, client }) {
    return await inspectObjects(await client(), { names: args, types: ["network"], flags });
  },
};
