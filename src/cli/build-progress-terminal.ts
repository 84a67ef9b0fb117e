import type { BuildStatus, BuildVertex } from "../api/client/index.ts";
import { printError } from "./output.ts";
import type { ProgressRenderer } from "./progress-renderer.ts";

/** Lines of output shown below a step that runs. */
const shownLines = 6;
const redrawMs = 100;
const widest = 300;

/** Steps with their times, drawn over until the build ends; what a failed step printed is left below. */
export class TerminalProgress implements ProgressRenderer {
  readonly #vertices = new Map<string, BuildVertex>();
  readonly #output = new Map<string, string[]>();
  readonly #startedMs = Date.now();
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #warnings: string[] = [];
  #drawn = 0;

  constructor() {
    this.#timer = setInterval(() => this.#draw(true), redrawMs);
  }

  take(status: BuildStatus): void {
    for (const vertex of status.vertexes) this.#vertices.set(vertex.digest, vertex);
    for (const { vertex, msg } of status.logs) {
      const lines = this.#output.get(vertex) ?? [""];
      const [first = "", ...more] = Buffer.from(msg).toString().split("\n");
      lines.push((lines.pop() ?? "") + first, ...more);
      this.#output.set(vertex, lines.slice(-1000));
    }
    for (const { short } of status.warnings) this.#warnings.push(short);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#draw(false);
    for (const vertex of this.#vertices.values()) {
      if (vertex.error === undefined) continue;
      printError(`------\n > ${vertex.name}:\n${(this.#output.get(vertex.digest) ?? []).join("\n")}\n------\n`);
    }
    for (const warning of this.#warnings) printError(`WARNING: ${warning}\n`);
  }

  #draw(running: boolean): void {
    const columns = Math.min(process.stderr.columns || 80, widest);
    const rows = (process.stderr.rows || 24) - 2;
    const lines = this.#lines(running).map((line) => fitted(line, columns));
    // What does not fit on the screen cannot be drawn over.
    const shown = running ? [...lines.slice(0, 1), ...lines.slice(1).slice(-rows)] : lines;
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : "";
    printError(`${up}\x1b[J${shown.map((line) => `${line}\n`).join("")}`);
    this.#drawn = running ? shown.length : 0;
  }

  #lines(running: boolean): string[] {
    const now = Date.now();
    const all = [...this.#vertices.values()].filter(({ startedMs }) => startedMs !== undefined);
    const done = all.filter(({ completedMs }) => completedMs !== undefined).length;
    const state = running || done < all.length ? "" : " FINISHED";
    const total = this.#vertices.size;
    const lines = [`[+] Building ${((now - this.#startedMs) / 1000).toFixed(1)}s (${done}/${total})${state}`];
    for (const vertex of all) {
      const { startedMs = now, completedMs, cached, error, name, digest } = vertex;
      const mark = error === undefined ? (cached ? "CACHED " : "") : "ERROR ";
      lines.push(`\0=> ${mark}${name}\0${(((completedMs ?? now) - startedMs) / 1000).toFixed(1)}s`);
      if (completedMs !== undefined || !running) continue;
      const output = (this.#output.get(digest) ?? []).filter((line) => line !== "").slice(-shownLines);
      lines.push(...output.map((line) => `\0=> => # ${line}\0`));
    }
    return lines;
  }
}

/** A line of the table: text at the left, time at the right; control characters of programs are left out. */
function fitted(line: string, columns: number): string {
  if (!line.startsWith("\0")) return line.slice(0, columns - 1);
  const [, text = "", time = ""] = line.split("\0");
  const clean = text.replace(/\x1b\[[0-9;?]*[A-Za-z]|[\0-\x1f\x7f]/g, "");
  // The last column stays empty: some terminals begin another line as soon as it is filled.
  const room = Math.max(1, columns - time.length - 2);
  const shown = clean.slice(0, time === "" ? room : room - 1);
  return ` ${shown.padEnd(room)}${time}`;
}
