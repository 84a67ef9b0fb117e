import { pathPart } from "../../api/client/index.ts";
import { UsageError } from "../usage-error.ts";
import type { Command } from "../command.ts";

export const command: Command = {
  usage: "rename CONTAINER NEW_NAME",
  description: "Rename a container",
  aliases: ["container rename", "rename"],
  flags: [],
  arguments: { min: 2, max: 2 },
  async run({ args, flags, client }) {
    const [oldName = "", newName = ""] = args.map((name) => name.trim());
    if (oldName === "" || newName === "") throw new UsageError("neither old nor new names may be empty");
    const engine = await client();
    await engine.post(`/containers/${pathPart(oldName)}/rename`, { query: { name: newName } });
    return 0;
  },
};
