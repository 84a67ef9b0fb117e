import type { Command } from "../command.ts";
import { objectFormatFlag } from "../common-flags.ts";
import { inspectObjects, type ObjectType } from "../inspect-objects.ts";
import { CommandFailure } from "../usage-error.ts";

const types: readonly ObjectType[] = ["container", "image", "network", "volume"];

export const command: Command = {
  usage: "inspect [OPTIONS] NAME|ID [NAME|ID...]",
  description: "Return low-level information on Vitrine objects",
  flags: [
    objectFormatFlag,
    { name: "size", short: "s", kind: "bool", description: "Display total file sizes if the type is container" },
    { name: "type", kind: "string", description: "Only inspect objects of the given type" },
  ],
  arguments: { min: 1 },
  async run({ flags, args, client }) {
    const wanted = flags.string("type");
    if (flags.changed("type") && !types.includes(wanted as ObjectType)) {
      throw new CommandFailure(
        wanted === ""
          ? 'type is empty: must be one of "container", "image", "network", "volume"'
          : `unknown type: ${JSON.stringify(wanted)}: must be one of "container", "image", "network", "volume"`,
      );
    }
    const request = { names: args, types: wanted === "" ? types : [wanted as ObjectType], flags };
    return await inspectObjects(await client(), { ...request, size: flags.bool("size") });
  },
};
