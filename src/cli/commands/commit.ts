import { pathPart } from "../../api/client/index.ts";
import type { ContainerInspect } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { printLine } from "../output.ts";
import { splitReference } from "../references.ts";

export const command: Command = {
  usage: "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
  description: "Create a new image from a container's changes",
  aliases: ["container commit", "commit"],
  flags: [
    {
      name: "author",
      short: "a",
      kind: "string",
      description: 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")',
    },
    { name: "change", short: "c", kind: "list", description: "Apply Dockerfile instruction to the created image" },
    { name: "message", short: "m", kind: "string", description: "Commit message" },
    { name: "pause", short: "p", kind: "bool", default: true, description: "Pause container during commit" },
  ],
  arguments: { min: 1, max: 2 },
  run: commitContainer,
};

async function commitContainer({ flags, args, client }: Invocation): Promise<number> {
  const [container = "", reference = ""] = args;
  const { repository, tag } = splitReference(reference);
  const engine = await client();
  const { Id: id } = await engine.get<ContainerInspect>(`/containers/${pathPart(container)}/json`);
  const image = await engine.post<{ Id: string }>("/commit", {
    query: {
      container: id,
      repo: repository || undefined,
      tag,
      author: flags.optional("author"),
      comment: flags.optional("message"),
      changes: flags.list("change"),
      pause: flags.bool("pause") ? undefined : "0",
    },
    body: {},
  });
  printLine(image.Id);
  return 0;
}
