import { pathPart } from "../../api/client/index.ts";
import { openArchiveTarget } from "../archive-target.ts";
import type { Command } from "../command.ts";

export const command: Command = {
  usage: "export [OPTIONS] CONTAINER",
  description: "Export a container's filesystem as a tar archive",
  aliases: ["container export", "export"],
  flags: [{ name: "output", short: "o", kind: "string", description: "Write to a file, instead of STDOUT" }],
  arguments: { min: 1, max: 1 },
  async run({ args, flags, client }) {
    const engine = await client();
    const target = await openArchiveTarget(flags.string("output"), "export");
    const answer = await engine.call("GET", `/containers/${pathPart(args[0] ?? "")}/export`);
    await target.take(answer.body);
    return 0;
  },
};
