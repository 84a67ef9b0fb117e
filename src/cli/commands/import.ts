import { createReadStream, statSync } from "node:fs";
import type { Command, Invocation } from "../command.ts";
import { showProgress } from "../progress.ts";
import { splitReference } from "../references.ts";
import { CommandFailure } from "../usage-error.ts";
import type { ProgressMessage } from "../../spec/index.ts";

export const command: Command = {
  usage: "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
  description: "Import the contents from a tarball to create a filesystem image",
  aliases: ["image import", "import"],
  flags: [
    { name: "change", short: "c", kind: "list", description: "Apply Dockerfile instruction to the created image" },
    { name: "message", short: "m", kind: "string", description: "Set commit message for imported image" },
    { name: "platform", kind: "string", description: "Set platform if server is multi-platform capable" },
  ],
  arguments: { min: 1, max: 2 },
  run: importImage,
};

async function importImage({ flags, args, client }: Invocation): Promise<number> {
  const [source = "", reference = ""] = args;
  const remote = /^https?:\/\//.test(source);
  if (!remote && source !== "-" && !statSync(source, { throwIfNoEntry: false })) {
    throw new CommandFailure(`open ${source}: no such file or directory`);
  }
  const upload = remote
    ? undefined
    : source === "-"
      ? process.stdin
      : createReadStream(source, { highWaterMark: 1 << 20 });
  const { repository, tag } = splitReference(reference);
  const engine = await client();
  const messages = engine.lines<ProgressMessage>("POST", "/images/create", {
    query: {
      fromSrc: remote ? source : "-",
      repo: repository || undefined,
      tag,
      message: flags.optional("message"),
      changes: flags.list("change"),
      platform: flags.optional("platform"),
    },
    ...(upload ? { upload } : {}),
  });
  await showProgress(messages);
  return 0;
}
