import { openArchiveTarget } from "../archive-target.ts";
import type { Command } from "../command.ts";
import { platformFlag, platformQuery } from "../platform-flag.ts";

export const command: Command = {
  usage: "save [OPTIONS] IMAGE [IMAGE...]",
  description: "Save one or more images to a tar archive (streamed to STDOUT by default)",
  aliases: ["image save", "save"],
  flags: [
    { name: "output", short: "o", kind: "string", description: "Write to a file, instead of STDOUT" },
    platformFlag("Save only the given platform variant"),
  ],
  arguments: { min: 1 },
  async run({ args, flags, client }) {
    const platform = platformQuery(flags.optional("platform"));
    const engine = await client();
    const target = await openArchiveTarget(flags.string("output"), "save");
    const answer = await engine.call("GET", "/images/get", { query: { names: args, platform } });
    await target.take(answer.body);
    return 0;
  },
};
