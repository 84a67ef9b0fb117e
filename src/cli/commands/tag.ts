import { pathPart } from "../../api/client/index.ts";
import { splitReference } from "../references.ts";
import type { Command } from "../command.ts";

export const command: Command = {
  usage: "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
  description: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
  aliases: ["image tag", "tag"],
  flags: [],
  arguments: { min: 2, max: 2 },
  async run({ args, client }) {
    const [source = "", target = ""] = args;
    const { repository, tag } = splitReference(target);
    const engine = await client();
    await engine.post(`/images/${pathPart(source)}/tag`, { query: { repo: repository, tag } });
    return 0;
  },
};
