import { readFileSync } from "node:fs";

/** One command of a chapter with the output that the chapter shows. */
export interface Exchange {
  readonly line: number;
  readonly command: string;
  readonly expected: readonly string[];
  /** The block is marked `console vitrine`: docker's client has no such command. */
  readonly vitrineOnly: boolean;
  /** The block is marked `console v1` or `console v2`: it is for machines with that version of control groups. */
  readonly cgroups: "v1" | "v2" | undefined;
}

/** Reads the ```console blocks of a Markdown page: `$ ` begins a command, `> ` continues it, other lines are its output. */
export function readChapter(path: string): Exchange[] {
  const exchanges: (Exchange & { command: string; expected: string[] })[] = [];
  let block: "none" | "console" | "other" = "none";
  let words: string[] = [];
  readFileSync(path, "utf8")
    .split("\n")
    .forEach((text, index) => {
      const fence = /^```(.*)$/.exec(text);
      if (fence) {
        if (block === "none") words = (fence[1] ?? "").split(" ");
        if (block !== "none") block = "none";
        else block = words[0] === "console" ? "console" : "other";
        return;
      }
      if (block !== "console") return;
      const last = exchanges.at(-1);
      const vitrineOnly = words.includes("vitrine");
      const cgroups = (["v1", "v2"] as const).find((version) => words.includes(version));
      if (text.startsWith("$ "))
        exchanges.push({ line: index + 1, command: text.slice(2), expected: [], vitrineOnly, cgroups });
      else if (text.startsWith("> ") && last?.expected.length === 0) last.command += `\n${text.slice(2)}`;
      else last?.expected.push(text);
    });
  return exchanges;
}

/** `…` in a line stands for any text, a line that is only `…` for any number of lines. */
export function matchesOutput(expected: readonly string[], actual: string): boolean {
  const pattern = expected
    .map((line) =>
      line.trim() === "…" ? "(?:.*\\n)*?" : `${line.split("…").map(escapePattern).join(".*?")}[ \\t]*\\n`,
    )
    .join("");
  const text = actual === "" || actual.endsWith("\n") ? actual : `${actual}\n`;
  return new RegExp(`^${pattern}$`).test(text.replaceAll(/\r+\n/g, "\n"));
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/ +/g, " +");
}

/** One bash for a whole chapter, so that variables and folders last from command to command. What it left running ends with it. */
export class ChapterShell implements AsyncDisposable {
  readonly #process;
  readonly #reader;
  #buffer = "";
  readonly #decoder = new TextDecoder();

  constructor(options: { cwd: string; environment: Record<string, string> }) {
    this.#process = Bun.spawn(["bash", "--norc", "--noprofile"], {
      cwd: options.cwd,
      env: { ...process.env, ...options.environment },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      // A process group of its own, which what it runs in the background stays in.
      detached: true,
    });
    this.#process.stdin.write("exec 2>&1\n");
    this.#reader = this.#process.stdout.getReader();
  }

  /** Everything the command prints on both streams, until it ends. */
  async run(command: string): Promise<{ output: string; exitCode: number }> {
    const mark = `end-of-command-${crypto.randomUUID()}`;
    // A command's own standard input is empty, or it would read the rest of the chapter.
    this.#process.stdin.write(`{ ${command}\n} </dev/null\nprintf '\\n%s %s\\n' ${mark} $?\n`);
    this.#process.stdin.flush();
    const end = new RegExp(`\\n${mark} (\\d+)\\n`);
    for (;;) {
      const match = end.exec(this.#buffer);
      if (match) {
        const output = this.#buffer.slice(0, match.index);
        this.#buffer = this.#buffer.slice(match.index + match[0].length);
        return { output, exitCode: Number(match[1]) };
      }
      const { value, done } = await this.#reader.read();
      if (done) throw new Error(`The shell ended during: ${command}\n${this.#buffer}`);
      this.#buffer += this.#decoder.decode(value, { stream: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.stdin.end();
    this.#signalAll("SIGTERM");
    await this.#process.exited;
    for (const signal of [0, "SIGKILL"] as const) {
      const deadline = Date.now() + 5000;
      while (Date.now() < deadline && this.#signalAll(signal)) await Bun.sleep(20);
    }
  }

  /** False when none of them is left. */
  #signalAll(signal: NodeJS.Signals | 0): boolean {
    try {
      return process.kill(-this.#process.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
      throw error;
    }
  }
}
