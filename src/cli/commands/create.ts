import type { Command } from "../command.ts";
import { containerFlags, creationFlags } from "../container-flags.ts";
import { toCreateRequest } from "../container-request/index.ts";
import { createContainer } from "../create-container.ts";
import { printLine } from "../output.ts";

export const command: Command = {
  usage: "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
  description: "Create a new container",
  aliases: ["container create", "create"],
  flags: [...containerFlags, ...creationFlags],
  arguments: { min: 1 },
  interspersed: false,
  failureCode: 125,
  async run({ flags, args, client }) {
    const request = toCreateRequest(flags, args);
    printLine(await createContainer(await client(), flags, request));
    return 0;
  },
};
