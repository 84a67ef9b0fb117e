import type { Heredoc, Instruction, InstructionFlag } from "./instruction.ts";
import { expandWord, type LexerOptions, type Variables } from "./shell-words.ts";

/** Flags whose values hold variables (Dockerfile reference, "Environment replacement"). */
const expandedFlags = new Set(["chown", "chmod", "checksum"]);

/**
 * The instruction with its variables replaced, in those parts that the reference names: RUN, CMD and ENTRYPOINT are left to
 * the shell. Throws an Error with Docker's words.
 */
export function expandInstruction<Kind extends Instruction>(
  instruction: Kind,
  variables: Variables,
  options: LexerOptions,
): Kind {
  const one = (word: string): string => expandWord(word, variables, options);
  return { ...instruction, ...expandedMembers(instruction, one, { variables, options }) };
}

type Expand = (word: string) => string;

function expandedMembers(
  instruction: Instruction,
  one: Expand,
  { variables, options }: { variables: Variables; options: LexerOptions },
): object {
  switch (instruction.kind) {
    case "ENV":
    case "LABEL": {
      if (instruction.kind === "LABEL" && instruction.literal) return {};
      return { pairs: instruction.pairs.map((pair) => ({ ...pair, key: one(pair.key), value: one(pair.value) })) };
    }
    case "ARG":
      return {
        arguments: instruction.arguments.map(({ key, value }) =>
          value === undefined ? { key: one(key) } : { key: one(key), value: one(value) },
        ),
      };
    case "COPY":
    case "ADD": {
      const flag = (given: InstructionFlag): InstructionFlag =>
        expandedFlags.has(given.name) ? { ...given, value: one(given.value) } : given;
      const file = (given: Heredoc): Heredoc => {
        if (!given.expand) return given;
        // The escape directive is not for bodies: they are no text of the Dockerfile's grammar.
        const content = expandWord(given.content, variables, { ...options, escape: "\\", skipQuotes: true });
        return { ...given, content };
      };
      return {
        flags: instruction.flags.map(flag),
        sources: instruction.sources.map(one),
        files: instruction.files.map(file),
        destination: one(instruction.destination),
      };
    }
    case "WORKDIR":
    case "USER":
    case "STOPSIGNAL":
      return { value: one(instruction.value) };
    case "VOLUME":
      return { values: instruction.values.map(one) };
    default:
      return {};
  }
}
