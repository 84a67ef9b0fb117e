import { isEngineRefusal, pathPart } from "../../api/client/index.ts";
import type { Command, Invocation } from "../command.ts";
import { describeFailure } from "../each-argument.ts";
import { print, printError } from "../output.ts";
import { platformFlag, platformQuery } from "../platform-flag.ts";

export const command: Command = {
  usage: "rmi [OPTIONS] IMAGE [IMAGE...]",
  description: "Remove one or more images",
  aliases: ["image rm", "image remove", "rmi"],
  flags: [
    { name: "force", short: "f", kind: "bool", description: "Force removal of the image" },
    { name: "no-prune", kind: "bool", description: "Do not delete untagged parents" },
    platformFlag("Remove only the given platform variant", "strings"),
  ],
  arguments: { min: 1 },
  run: removeImages,
};

async function removeImages({ flags, args, client }: Invocation): Promise<number> {
  const engine = await client();
  const platforms = flags.list("platform").flatMap((text) => text.split(",").map((each) => platformQuery(each) ?? ""));
  const query = { force: flags.bool("force") || undefined, noprune: flags.bool("no-prune") || undefined, platforms };
  const failures: unknown[] = [];
  for (const name of args) {
    try {
      const removed = await engine.delete<{ Untagged?: string; Deleted?: string }[]>(
        `/images/${pathPart(name)}`,
        query,
      );
      print(
        removed
          .map(({ Deleted, Untagged }) => (Deleted ? `Deleted: ${Deleted}\n` : `Untagged: ${Untagged}\n`))
          .join(""),
      );
    } catch (thrown) {
      failures.push(thrown);
    }
  }
  for (const failure of failures) printError(`${describeFailure(failure)}\n`);
  // With --force an image that is not there is what was wanted; it is still told.
  const fatal = failures.some(
    (thrown) => !(flags.bool("force") && isEngineRefusal(thrown) && thrown.code === "notFound"),
  );
  return fatal ? 1 : 0;
}
