import { pathPart } from "../../api/client/index.ts";
import { print } from "../output.ts";
import type { Command } from "../command.ts";

export const command: Command = {
  usage: "diff CONTAINER",
  description: "Inspect changes to files or directories on a container's filesystem",
  aliases: ["container diff", "diff"],
  flags: [],
  arguments: { min: 1, max: 1 },
  async run({ args, client }) {
    const engine = await client();
    const changes = await engine.get<{ Path: string; Kind: number }[] | null>(
      `/containers/${pathPart(args[0] ?? "")}/changes`,
    );
    print((changes ?? []).map(({ Path, Kind }) => `${"CAD"[Kind] ?? "?"} ${Path}\n`).join(""));
    return 0;
  },
};
