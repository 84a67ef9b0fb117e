import { DockerfileFault, type Position } from "./dockerfile-error.ts";
import { isSpace } from "./characters.ts";
import type { InstructionFlag, InstructionName } from "./instruction.ts";
import type { LogicalLine } from "./source-lines.ts";
import { didYouMean } from "./suggest.ts";

type FlagKind = "bool" | "string" | "strings";

/** Every flag of every instruction in the current Dockerfile reference. */
const knownFlags: Readonly<Record<InstructionName, Readonly<Record<string, FlagKind>>>> = {
  ADD: {
    chown: "string",
    chmod: "string",
    link: "bool",
    "keep-git-dir": "bool",
    checksum: "string",
    unpack: "bool",
    exclude: "strings",
  },
  ARG: {},
  CMD: {},
  COPY: { chown: "string", chmod: "string", from: "string", link: "bool", exclude: "strings", parents: "bool" },
  ENTRYPOINT: {},
  ENV: {},
  EXPOSE: {},
  FROM: { platform: "string" },
  HEALTHCHECK: {
    interval: "string",
    timeout: "string",
    "start-period": "string",
    "start-interval": "string",
    retries: "string",
  },
  LABEL: {},
  MAINTAINER: {},
  ONBUILD: {},
  RUN: { mount: "strings", network: "string", security: "string" },
  SHELL: {},
  STOPSIGNAL: {},
  USER: {},
  VOLUME: {},
  WORKDIR: {},
};

interface RawFlag {
  readonly text: string;
  readonly position: Position;
}

/** Takes the words that begin with `--` off the beginning of an instruction's arguments. */
export function takeFlags(line: LogicalLine, escape: string): { flags: RawFlag[]; rest: number } {
  const flags: RawFlag[] = [];
  let at = skipSpaces(line.text, 0);
  while (line.text.startsWith("--", at)) {
    const word = takeWord(line.text, at, escape);
    at = skipSpaces(line.text, word.end);
    if (word.text === "--") break;
    flags.push({ text: word.text, position: line.positionAt(word.start) });
  }
  return { flags, rest: at };
}

function skipSpaces(text: string, from: number): number {
  let at = from;
  while (at < text.length && isSpace(text[at] ?? "")) at++;
  return at;
}

/** A word up to white space outside of quotes; quotes and escapes are removed. */
function takeWord(text: string, start: number, escape: string): { text: string; start: number; end: number } {
  let result = "";
  let quote = "";
  let at = start;
  for (; at < text.length; at++) {
    const character = text[at] ?? "";
    if (character === escape) {
      at++;
      result += text[at] ?? "";
    } else if (quote !== "") {
      if (character === quote) quote = "";
      else result += character;
    } else if (character === "'" || character === '"') {
      quote = character;
    } else if (isSpace(character)) {
      break;
    } else {
      result += character;
    }
  }
  return { text: result, start, end: at };
}

/** Checks flags against those that the instruction knows; Docker's words. */
export function checkFlags(flags: readonly RawFlag[], instruction: InstructionName): InstructionFlag[] {
  const known = knownFlags[instruction];
  const result: InstructionFlag[] = [];
  for (const { text, position } of flags) {
    const [written = "", value] = splitOnce(text, "=");
    const name = written.slice(2);
    const kind = Object.hasOwn(known, name) ? known[name] : undefined;
    if (!kind) throw new DockerfileFault(`unknown flag: ${written}${didYouMean(name, Object.keys(known))}`, position);
    if (kind !== "strings" && result.some((flag) => flag.name === name)) {
      throw new DockerfileFault(`duplicate flag specified: ${written}`, position);
    }
    result.push({ name, value: flagText(written, { kind, value, position }), position });
  }
  return result;
}

function flagText(written: string, flag: { kind: FlagKind; value: string | undefined; position: Position }): string {
  const { kind, value, position } = flag;
  if (kind !== "bool") {
    if (value === undefined) throw new DockerfileFault(`missing a value on flag: ${written}`, position);
    return value;
  }
  if (value === "") throw new DockerfileFault(`missing a value on flag: ${written}`, position);
  const lower = (value ?? "true").toLowerCase();
  if (lower === "true" || lower === "false") return lower;
  throw new DockerfileFault(`expecting boolean value for flag ${written}, not: ${value ?? ""}`, position);
}

/** Both sides of the first separator; the second is undefined where there is none. */
export function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}
