import type { Command } from "../command.ts";
import { objectFormatFlag } from "../common-flags.ts";
import { inspectObjects } from "../inspect-objects.ts";

export const command: Command = {
  usage: "inspect [OPTIONS] CONTAINER [CONTAINER...]",
  description: "Display detailed information on one or more containers",
  flags: [objectFormatFlag, { name: "size", short: "s", kind: "bool", description: "Display total file sizes" }],
  arguments: { min: 1 },
  async run({ flags, args, client }) {
    return await inspectObjects(await client(), { names: args, types: ["container"], flags, size: flags.bool("size") });
  },
};
