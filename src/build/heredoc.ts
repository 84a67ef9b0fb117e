import { expandWords } from "./shell-words.ts";

/** What `<<EOF`, `3<<-"EOF"` and the like say. */
export interface HeredocWord {
  readonly name: string;
  readonly descriptor: number;
  readonly chomp: boolean;
  readonly expand: boolean;
}

const none: ReadonlyMap<string, string> = new Map();

/** The heredoc that a word opens; undefined for any other word. */
export function parseHeredocWord(word: string): HeredocWord | undefined {
  const match = /^(\d*)<<(-?)\s*([^<]*)$/.exec(word);
  const rest = match?.[3] ?? "";
  if (!match || rest === "") return undefined;
  const plain = expandWords(rest, none, { escape: "\\", keepUnset: true });
  const raw = expandWords(rest, none, { escape: "\\", keepUnset: true, rawQuotes: true });
  const [name] = plain;
  if (plain.length !== 1 || name === undefined) return undefined;
  // A quoted word ('EOF') means that its body is taken as it is.
  const expand = countQuotes(name) === countQuotes(raw[0] ?? "");
  return { name, descriptor: Number(match[1] || 0), chomp: match[2] === "-", expand };
}

/** All heredocs that a line opens, in order. */
export function heredocsOfLine(line: string): HeredocWord[] {
  let words: string[];
  try {
    words = expandWords(line, none, { escape: "\\", rawQuotes: true, rawEscapes: true, keepUnset: true });
  } catch {
    // A line whose quotes do not match is the shell's to refuse.
    return [];
  }
  return words.map(parseHeredocWord).filter((heredoc) => heredoc !== undefined);
}

/** A body whose lines lost their leading tabs: `<<-`. */
export function chompTabs(content: string): string {
  return content.replace(/^\t+/gm, "");
}

function countQuotes(text: string): number {
  return text.split(/['"]/).length - 1;
}
