import { pathPart, readJsonLines } from "../../api/client/index.ts";
import type { ProgressMessage } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { printError, printLine } from "../output.ts";
import { platformQuery } from "../platform-flag.ts";
import { showProgress } from "../progress.ts";
import { nameWanted, quietFlag, splitName } from "../pull-image.ts";
import { authHeader } from "../registry-credentials.ts";

export const command: Command = {
  usage: "push [OPTIONS] NAME[:TAG]",
  description: "Upload an image to a registry",
  aliases: ["image push", "push"],
  flags: [
    { name: "all-tags", short: "a", kind: "bool", description: "Push all tags of an image to the repository" },
    {
      name: "platform",
      kind: "string",
      description: `Push a platform-specific manifest as a single-platform image to the registry.
Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.
'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)`,
    },
    quietFlag,
  ],
  arguments: { min: 1, max: 1 },
  run: push,
};

async function push({ flags, args, client }: Invocation): Promise<number> {
  const platform = platformQuery(flags.optional("platform"));
  const quiet = flags.bool("quiet");
  const name = nameWanted({ flags, args });
  const { repository, tag } = splitName(name);
  const engine = await client();
  const answer = await engine.call("POST", `/images/${pathPart(repository)}/push`, {
    query: { tag, platform },
    // Engines expect the header, even when there is nothing to say.
    headers: { "X-Registry-Auth": Buffer.from("{}").toString("base64url"), ...(await authHeader(name)) },
  });
  const notes: string[] = [];
  const aux = (value: unknown): void => void notes.push(...noteOf(value));
  await showProgress(readJsonLines<ProgressMessage>(answer.body), { quiet, aux });
  if (quiet) printLine(name);
  for (const note of notes) printError(note);
  return 0;
}

interface PushedInstead {
  readonly manifestPushedInsteadOfIndex?: boolean;
  readonly originalIndex?: { readonly digest: string };
  readonly selectedManifest?: { readonly digest: string };
}

/** What docker's client says when an index could not go whole. */
function noteOf(value: unknown): string[] {
  const { manifestPushedInsteadOfIndex, originalIndex, selectedManifest } = (value ?? {}) as PushedInstead;
  if (!manifestPushedInsteadOfIndex) return [];
  return [
    "\ni Info → Not all multiplatform-content is present and only the available single-platform image was pushed\n" +
      `         ${originalIndex?.digest} -> ${selectedManifest?.digest}\n`,
  ];
}
