import type { Command, Invocation } from "../command.ts";
import { printLine } from "../output.ts";
import { pullImage, splitName, withDefaultTag } from "../pull-image.ts";
import { CommandFailure } from "../usage-error.ts";

export const command: Command = {
  usage: "pull [OPTIONS] NAME[:TAG|@DIGEST]",
  description: "Download an image from a registry",
  aliases: ["image pull", "pull"],
  flags: [
    { name: "all-tags", short: "a", kind: "bool", description: "Download all tagged images in the repository" },
    { name: "platform", kind: "string", description: "Set platform if server is multi-platform capable" },
    { name: "quiet", short: "q", kind: "bool", description: "Suppress verbose output" },
  ],
  arguments: { min: 1, max: 1 },
  run: pull,
};

async function pull({ flags, args, client }: Invocation): Promise<number> {
  const [given = ""] = args;
  const all = flags.bool("all-tags");
  const quiet = flags.bool("quiet");
  if (all && splitName(given).tag !== undefined) throw new CommandFailure("tag can't be used with --all-tags/-a");
  const name = all ? given : withDefaultTag(given);
  if (!all && name !== given && !quiet) printLine("Using default tag: latest");
  await pullImage(await client(), { name, platform: flags.optional("platform"), quiet });
  printLine(fullName(name));
  return 0;
}

/** docker ends with the whole name, for programs. */
function fullName(name: string): string {
  const slash = name.indexOf("/");
  const first = slash === -1 ? "" : name.slice(0, slash);
  if (/[.:]/.test(first) || first === "localhost") return name;
  return slash === -1 ? `docker.io/library/${name}` : `docker.io/${name}`;
}
