import type { ProgressMessage } from "../../spec/index.ts";
import type { Command } from "../command.ts";
import { showProgress } from "../progress.ts";

export const command: Command = {
  usage: "from-host NAME[:TAG] PROGRAM [PROGRAM...]",
  description: "Make an image of programs of this machine and the libraries they need",
  details: `The programs and what they are linked with are copied: a root file system made of nothing but the host's files.
Example: vitrine image from-host mini bash ls`,
  flags: [],
  arguments: { min: 2 },
  async run({ args, client }) {
    const [reference = "", ...program] = args;
    const engine = await client();
    await showProgress(
      engine.lines<ProgressMessage>("POST", "/vitrine/images/from-host", { query: { reference, program } }),
    );
    return 0;
  },
};
