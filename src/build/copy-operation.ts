// COPY and ADD as actions of a file operation.
import { posix } from "node:path";
import { EngineError } from "../common/index.ts";
import { parseGitReference } from "./git-reference.ts";
import { flagValue, type CopyInstruction } from "./instruction.ts";
import type { FileAction, Operation } from "./operation.ts";

const webPattern = /^https?:\/\//;

/** What one word of ADD names beside files of the context. */
export function remoteSource(word: string, instruction: CopyInstruction): Operation | undefined {
  const checksum = flagValue(instruction, "checksum");
  const isGit = parseGitReference(word) !== undefined;
  if ((isGit || webPattern.test(word)) && instruction.kind === "COPY") {
    throw new EngineError("invalidArgument", "COPY failed: source can't be a URL for COPY");
  }
  const checked = checksum === undefined || checksum === "" ? {} : { checksum };
  if (isGit) {
    const keepGitDirectory = flagValue(instruction, "keep-git-dir") === "true";
    return { kind: "git", inputs: [], url: word, keepGitDirectory, ...checked };
  }
  if (webPattern.test(word)) return { kind: "http", inputs: [], url: word, ...checked };
  if (checksum !== undefined && checksum !== "") {
    throw new EngineError("invalidArgument", `checksum can't be specified for the local source "${word}"`);
  }
  return undefined;
}

/** The actions of an instruction whose words come from these inputs: `inputOf` gives the index for each. */
export function copyActions(
  instruction: CopyInstruction,
  context: {
    workingDirectory: string | undefined;
    inputOf: (word: string) => { input: number; remote: Operation | undefined };
    isContext: boolean;
  },
): FileAction[] {
  const { kind, sources, files } = instruction;
  checkCount(instruction);
  const destination = absoluteDestination(context.workingDirectory, instruction.destination);
  const given = (name: string): string | undefined => flagValue(instruction, name) || undefined;
  const owner = given("chown");
  const mode = given("chmod");
  const exclude = instruction.flags.filter(({ name }) => name === "exclude").map(({ value }) => value);
  const unpackAsked = flagValue(instruction, "unpack");
  const actions: FileAction[] = [];
  for (const word of sources) {
    const { input, remote } = context.inputOf(word);
    const last = actions.at(-1);
    // Words of one input are one action, so that hard links among their files stay.
    if (!remote && last?.type === "copy" && last.input === input) {
      actions[actions.length - 1] = { ...last, sources: [...last.sources, word] };
      continue;
    }
    const isFile = remote?.kind === "http";
    actions.push({
      type: "copy",
      instruction: kind,
      input,
      sources: [remote ? (isFile ? "*" : ".") : word],
      destination,
      owner,
      mode: mode ?? (isFile ? "600" : undefined),
      keepOwner: !context.isContext && !remote,
      unpack: kind === "ADD" && (remote ? unpackAsked === "true" : unpackAsked !== "false"),
      parents: flagValue(instruction, "parents") === "true",
      exclude,
      isContext: context.isContext && !remote,
    });
  }
  for (const { name, content } of files) actions.push({ type: "makeFile", destination, name, content, owner, mode });
  return actions;
}

function checkCount({ kind, sources, files, destination }: CopyInstruction): void {
  const count = sources.length + files.length;
  if (count > 1 && !destination.endsWith("/")) {
    throw new EngineError(
      "invalidArgument",
      `When using ${kind} with more than one source file, the destination must be a directory and end with a /`,
    );
  }
}

function absoluteDestination(workingDirectory: string | undefined, requested: string): string {
  const path = posix.resolve("/", workingDirectory ?? "", requested);
  return (requested.endsWith("/") || requested === "." || requested.endsWith("/.")) && path !== "/" ? `${path}/` : path;
}
