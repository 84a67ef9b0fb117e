import { pathPart } from "../../api/client/index.ts";
import type { Command } from "../command.ts";
import { forEachArgument } from "../each-argument.ts";

export const command: Command = {
  usage: "stop [OPTIONS] CONTAINER [CONTAINER...]",
  description: "Stop one or more running containers",
  aliases: ["container stop", "stop"],
  flags: [
    { name: "signal", short: "s", kind: "string", description: "Signal to send to the container" },
    {
      name: "timeout",
      short: "t",
      kind: "int",
      alias: "time",
      description: "Seconds to wait before killing the container",
    },
  ],
  arguments: { min: 1 },
  async run({ args, flags, client }) {
    const query = { signal: flags.optional("signal"), t: flags.optional("timeout") };
    const engine = await client();
    return await forEachArgument(args, async (name) => {
      await engine.call("POST", `/containers/${pathPart(name)}/stop`, { query });
    });
  },
};
