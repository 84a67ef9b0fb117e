import { pathPart } from "../../api/client/index.ts";
import type { WaitAnswer } from "../container-exit.ts";
import type { Command } from "../command.ts";
import { forEachArgument } from "../each-argument.ts";

export const command: Command = {
  usage: "wait CONTAINER [CONTAINER...]",
  description: "Block until one or more containers stop, then print their exit codes",
  aliases: ["container wait", "wait"],
  flags: [],
  arguments: { min: 1 },
  async run({ args, client }) {
    const engine = await client();
    return await forEachArgument(args, async (name) => {
      const { StatusCode, Error: failure } = await engine.post<WaitAnswer>(`/containers/${pathPart(name)}/wait`);
      if (failure?.Message) throw new Error(failure.Message);
      return String(StatusCode);
    });
  },
};
