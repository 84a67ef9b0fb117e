import type { Command } from "../command.ts";
import { objectFormatFlag } from "../common-flags.ts";
import { inspectObjects } from "../inspect-objects.ts";
import { platformFlag, platformQuery } from "../platform-flag.ts";

export const command: Command = {
  usage: "inspect [OPTIONS] IMAGE [IMAGE...]",
  description: "Display detailed information on one or more images",
  flags: [objectFormatFlag, platformFlag("Inspect a specific platform of the multi-platform image")],
  arguments: { min: 1 },
  async run({ flags, args, client }) {
    return await inspectObjects(await client(), {
      names: args,
      types: ["image"],
      flags,
      platform: platformQuery(flags.optional("platform")),
    });
  },
};
