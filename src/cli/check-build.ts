import { existsSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Invocation } from "./command.ts";
import { ignoreFileOf } from "./ignore-file.ts";
import { print, printError } from "./output.ts";
import { CommandFailure } from "./usage-error.ts";

interface Answer {
  readonly output: string;
  readonly error: string;
  readonly statusCode: number;
}

/** `build --check`: prints what Docker's checks find. 1 where there is something. The engine gets the Dockerfile, no context. */
export async function checkBuild({ flags, args, client }: Invocation): Promise<number> {
  const root = args[0] ?? "";
  const file = flags.string("file");
  const fromInput = root === "-" || file === "-";
  if (root === "-" && file !== "")
    throw new CommandFailure("build --check - reads the Dockerfile from standard input, so --file has no place");
  if (root !== "-" && !statSync(root, { throwIfNoEntry: false })?.isDirectory()) {
    throw new CommandFailure(`build --check wants a folder, or a Dockerfile on standard input: "${root}" is none`);
  }
  const path = file === "" ? join(root, "Dockerfile") : resolve(file);
  if (!fromInput && !existsSync(path)) {
    throw new CommandFailure(
      `unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat ${resolve(path)}: no such file or directory`,
    );
  }
  const dockerfile = fromInput ? await Bun.stdin.text() : readFileSync(path, "utf8");
  const ignore = root === "-" ? undefined : ignoreFileOf(resolve(root), fromInput ? undefined : path);
  const engine = await client();
  const body = {
    FileName: fromInput ? "Dockerfile" : file || "Dockerfile",
    Dockerfile: dockerfile,
    ...(ignore === undefined ? {} : { Ignore: readFileSync(ignore, "utf8") }),
    Target: flags.string("target"),
    Arguments: Object.fromEntries(flags.list("build-arg").map(splitArgument)),
  };
  const answer = await engine.post<Answer>("/vitrine/build/check", { body });
  print(answer.output);
  if (answer.error !== "") printError(`${answer.output === "" ? "" : "\n"}ERROR: ${answer.error}\n`);
  return answer.statusCode;
}

/** One without a value takes the client's own variable. */
function splitArgument(text: string): [name: string, value: string | null] {
  const equals = text.indexOf("=");
  return equals < 0 ? [text, process.env[text] ?? null] : [text.slice(0, equals), text.slice(equals + 1)];
}
