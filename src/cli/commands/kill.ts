import { pathPart } from "../../api/client/index.ts";
import type { Command } from "../command.ts";
import { forEachArgument } from "../each-argument.ts";

export const command: Command = {
  usage: "kill [OPTIONS] CONTAINER [CONTAINER...]",
  description: "Kill one or more running containers",
  aliases: ["container kill", "kill"],
  flags: [{ name: "signal", short: "s", kind: "string", description: "Signal to send to the container" }],
  arguments: { min: 1 },
  async run({ args, flags, client }) {
    const engine = await client();
    return await forEachArgument(args, (name) =>
      engine.post(`/containers/${pathPart(name)}/kill`, { query: { signal: flags.optional("signal") } }),
    );
  },
};
