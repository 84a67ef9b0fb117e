import { pathPart } from "../../api/client/index.ts";
import { print } from "../output.ts";
import { alignColumns } from "../tabwriter.ts";
import type { Command } from "../command.ts";

export const command: Command = {
  usage: "top CONTAINER [ps OPTIONS]",
  description: "Display the running processes of a container",
  aliases: ["container top", "top"],
  flags: [],
  arguments: { min: 1 },
  interspersed: false,
  async run({ args, client }) {
    const [container = "", ...psArguments] = args;
    const engine = await client();
    const list = await engine.get<{ Titles: string[]; Processes: string[][] | null }>(
      `/containers/${pathPart(container)}/top`,
      { ps_args: psArguments.length > 0 ? psArguments.join(" ") : undefined },
    );
    const lines = [list.Titles, ...(list.Processes ?? [])].map((cells) => `${cells.join("\t")}\n`);
    print(alignColumns(lines.join(""), { minWidth: 20, padding: 3 }));
    return 0;
  },
};
