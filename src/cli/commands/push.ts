import { pathPart, readJsonLines } from "../../api/client/index.ts";
import type { ProgressMessage } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { printLine } from "../output.ts";
import { showProgress } from "../progress.ts";
import { splitName, withDefaultTag } from "../pull-image.ts";
import { authHeader } from "../registry-credentials.ts";
import { CommandFailure } from "../usage-error.ts";

export const command: Command = {
  usage: "push [OPTIONS] NAME[:TAG]",
  description: "Upload an image to a registry",
  aliases: ["image push", "push"],
  flags: [
    { name: "all-tags", short: "a", kind: "bool", description: "Push all tags of an image to the repository" },
    { name: "quiet", short: "q", kind: "bool", description: "Suppress verbose output" },
  ],
  arguments: { min: 1, max: 1 },
  run: push,
};

async function push({ flags, args, client }: Invocation): Promise<number> {
  const [given = ""] = args;
  const all = flags.bool("all-tags");
  const quiet = flags.bool("quiet");
  if (all && splitName(given).tag !== undefined) throw new CommandFailure("tag can't be used with --all-tags/-a");
  const name = all ? given : withDefaultTag(given);
  if (!all && name !== given && !quiet) printLine("Using default tag: latest");
  const { repository, tag } = splitName(name);
  const engine = await client();
  const answer = await engine.call("POST", `/images/${pathPart(repository)}/push`, {
    query: { tag },
    // Engines expect the header, even when there is nothing to say.
    headers: { "X-Registry-Auth": Buffer.from("{}").toString("base64url"), ...(await authHeader(name)) },
  });
  await showProgress(readJsonLines<ProgressMessage>(answer.body), { quiet });
  if (quiet) printLine(name);
  return 0;
}
