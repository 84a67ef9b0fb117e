import { EngineError } from "../../common/index.ts";
import type { Command } from "../command.ts";

export const command: Command = {
  usage: "push [OPTIONS] NAME[:TAG]",
  description: "Upload an image to a registry",
  aliases: ["image push", "push"],
  flags: [],
  arguments: { min: 1, max: 1 },
  run: () =>
    Promise.reject(new EngineError("unsupported", "vitrine push is not built yet: no registry is spoken to so far")),
};
