import { pathPart } from "../../api/client/index.ts";
import type { Command } from "../command.ts";
import { forEachArgument } from "../each-argument.ts";

export const command: Command = {
  usage: "rm [OPTIONS] CONTAINER [CONTAINER...]",
  description: "Remove one or more containers",
  aliases: ["container rm", "container remove", "rm"],
  flags: [
    { name: "force", short: "f", kind: "bool", description: "Force the removal of a running container (uses SIGKILL)" },
    { name: "link", short: "l", kind: "bool", description: "Remove the specified link" },
    {
      name: "volumes",
      short: "v",
      kind: "bool",
      description: "Remove anonymous volumes associated with the container",
    },
  ],
  arguments: { min: 1 },
  async run({ args, flags, client }) {
    const query = {
      force: flags.bool("force") || undefined,
      link: flags.bool("link") || undefined,
      v: flags.bool("volumes") || undefined,
    };
    const engine = await client();
    return await forEachArgument(args, async (name) => {
      const path = pathPart(name.replace(/^\/+/, ""));
      // A container that is gone is what `rm -f` wants.
      await engine.call("DELETE", `/containers/${path}`, { query });
    });
  },
};
