import type { Command } from "../command.ts";
import { printLine } from "../output.ts";
import { eraseLogin } from "../registry-credentials.ts";
import { serverName } from "./login.ts";

export const command: Command = {
  usage: "logout [SERVER]",
  description: "Log out from a registry",
  details: "If no server is specified, Docker Hub is meant.",
  flags: [],
  arguments: { min: 0, max: 1 },
  async run({ args }) {
    const server = serverName(args[0]);
    if (await eraseLogin(server)) printLine(`Removing login credentials for ${server}`);
    else printLine(`Not logged in to ${server}`);
    return 0;
  },
};
