import { pathPart } from "../../api/client/index.ts";
import { describeFailure } from "../each-argument.ts";
import { CommandFailure, UsageError } from "../usage-error.ts";
import type { Command } from "../command.ts";

export const command: Command = {
  usage: "rename CONTAINER NEW_NAME",
  description: "Rename a container",
  aliases: ["container rename", "rename"],
  flags: [],
  arguments: { min: 2, max: 2 },
  async run({ args, client }) {
    const [oldName = "", newName = ""] = args.map((name) => name.trim());
    if (oldName === "" || newName === "") throw new UsageError("neither old nor new names may be empty");
    const engine = await client();
    try {
      await engine.post(`/containers/${pathPart(oldName)}/rename`, { query: { name: newName } });
    } catch (thrown) {
      throw new CommandFailure(`${describeFailure(thrown)}\nError: failed to rename container named ${oldName}`);
    }
    return 0;
  },
};
