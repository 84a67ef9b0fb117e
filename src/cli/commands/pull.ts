import { EngineError } from "../../common/index.ts";
import type { Command } from "../command.ts";

export const command: Command = {
  usage: "pull [OPTIONS] NAME[:TAG|@DIGEST]",
  description: "Download an image from a registry",
  aliases: ["image pull", "pull"],
  flags: [],
  arguments: { min: 1, max: 1 },
  run: () =>
    Promise.reject(
      new EngineError(
        "unsupported",
        "vitrine pull is not built yet: images come from build, import, load and image from-host",
      ),
    ),
};
