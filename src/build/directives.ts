import { DockerfileFault } from "./dockerfile-error.ts";
import { trimSpace } from "./characters.ts";

/** Parser directives of a Dockerfile: comments of the form `# name=value` before anything else. */
export interface Directives {
  /** `\` or a backtick. */
  escape: string;
  /** The frontend that the file asks for. It is recorded; this parser is used whatever it says. */
  syntax?: string;
  /** Options of build checks. */
  check?: string;
}

export class DirectiveReader {
  readonly found: Directives = { escape: "\\" };
  readonly #seen = new Set<string>();
  #done = false;

  /** Whether a line, without the blanks before it, is a directive. The first that is none ends the directives. */
  read(text: string, line: number): boolean {
    if (this.#done) return false;
    const match = text.startsWith("#") ? /^([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S.*)$/.exec(trimSpace(text.slice(1))) : null;
    const name = match?.[1]?.toLowerCase();
    const value = match?.[2] ?? "";
    if (name !== "escape" && name !== "syntax" && name !== "check") {
      this.#done = true;
      return false;
    }
    const position = { line, column: 1 };
    if (this.#seen.has(name)) throw new DockerfileFault(`only one ${name} parser directive can be used`, position);
    this.#seen.add(name);
    if (name === "escape" && value !== "\\" && value !== "`") {
      throw new DockerfileFault(`invalid escape token '${value}' does not match \` or \\`, position);
    }
    this.found[name] = value;
    return true;
  }
}
