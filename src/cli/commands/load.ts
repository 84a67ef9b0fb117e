import { createReadStream, statSync } from "node:fs";
import { readJsonLines } from "../../api/client/index.ts";
import type { ProgressMessage } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { writeBytes } from "../output.ts";
import { platformFlag, platformQuery } from "../platform-flag.ts";
import { showProgress } from "../progress.ts";
import { CommandFailure } from "../usage-error.ts";

export const command: Command = {
  usage: "load [OPTIONS]",
  description: "Load an image from a tar archive or STDIN",
  aliases: ["image load", "load"],
  flags: [
    { name: "input", short: "i", kind: "string", description: "Read from tar archive file, instead of STDIN" },
    platformFlag("Load only the given platform variant"),
    { name: "quiet", short: "q", kind: "bool", description: "Suppress the load output" },
  ],
  arguments: { min: 0, max: 0 },
  run: loadImages,
};

async function loadImages({ flags, client }: Invocation): Promise<number> {
  const path = flags.string("input");
  const platform = platformQuery(flags.optional("platform"));
  if (path !== "") {
    if (!statSync(path, { throwIfNoEntry: false })) throw new CommandFailure(`open ${path}: no such file or directory`);
  } else if (process.stdin.isTTY) {
    throw new CommandFailure("requested load from stdin, but stdin is empty");
  }
  const upload = path === "" ? process.stdin : createReadStream(path, { highWaterMark: 1 << 20 });
  const quiet = flags.bool("quiet") || !process.stdout.isTTY;
  const engine = await client();
  const answer = await engine.call("POST", "/images/load", { query: { quiet: quiet ? 1 : 0, platform }, upload });
  if (answer.headers.get("content-type")?.includes("json")) {
    await showProgress(readJsonLines<ProgressMessage>(answer.body));
    return 0;
  }
  for await (const chunk of answer.body) await writeBytes("stdout", chunk);
  return 0;
}
