import { EngineError } from "../../common/index.ts";
import type { Command } from "../command.ts";

export const command: Command = {
  usage: "logout [SERVER]",
  description: "Log out from a registry",
  flags: [],
  arguments: { min: 0, max: 1 },
  run: () =>
    Promise.reject(new EngineError("unsupported", "vitrine logout is not built yet: no registry is spoken to so far")),
};
