import type { Command, Invocation } from "../command.ts";
import { printLine } from "../output.ts";
import { nameWanted, pullImage, quietFlag } from "../pull-image.ts";

export const command: Command = {
  usage: "pull [OPTIONS] NAME[:TAG|@DIGEST]",
  description: "Download an image from a registry",
  aliases: ["image pull", "pull"],
  flags: [
    { name: "all-tags", short: "a", kind: "bool", description: "Download all tagged images in the repository" },
    { name: "platform", kind: "string", description: "Set platform if server is multi-platform capable" },
    quietFlag,
  ],
  arguments: { min: 1, max: 1 },
  run: pull,
};

async function pull({ flags, args, client }: Invocation): Promise<number> {
  const name = nameWanted({ flags, args });
  await pullImage(await client(), { name, platform: flags.optional("platform"), quiet: flags.bool("quiet") });
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
