import { EngineError } from "../common/index.ts";
import type { ProgressMessage } from "../spec/index.ts";
import { print, printError } from "./output.ts";

/**
 * Shows the JSON stream of build, import, load, pull: text of `stream` as it is, `status` a line each; on a terminal a line
 * of an id is drawn over. Calls `aux` for its objects. Throws the stream's own error.
 */
export async function showProgress(
  messages: AsyncIterable<ProgressMessage>,
  options: { quiet?: boolean; to?: "stdout" | "stderr"; aux?: (value: unknown) => void } = {},
): Promise<void> {
  const write = options.to === "stderr" ? printError : print;
  const stream = options.to === "stderr" ? process.stderr : process.stdout;
  const lines = new Map<string, number>();
  for await (const message of messages) {
    if (message.errorDetail || message.error) {
      const text = message.errorDetail?.message ?? message.error ?? "";
      throw new EngineError("internal", text, { data: { fromStream: true, code: message.errorDetail?.code ?? 1 } });
    }
    if (message.aux !== undefined) options.aux?.(message.aux);
    else if (!options.quiet) write(stream.isTTY ? drawnLine(message, lines) : plainLine(message));
  }
}

function plainLine(message: ProgressMessage): string {
  if (message.stream !== undefined) return message.stream;
  // A bar makes sense only where it can be drawn over.
  if (message.progressDetail?.total) return "";
  const id = message.id ? `${message.id}: ` : "";
  return message.status === undefined ? "" : `${id}${message.status}\n`;
}

/** Moves up to the id's line, writes it anew, and moves down again. */
function drawnLine(message: ProgressMessage, lines: Map<string, number>): string {
  if (message.stream !== undefined) return message.stream;
  const text = `${message.id ? `${message.id}: ` : ""}${message.status ?? ""}${message.progress ? ` ${message.progress}` : ""}`;
  if (!message.id) {
    lines.clear();
    return `${text}\n`;
  }
  const line = lines.get(message.id);
  if (line === undefined) {
    lines.set(message.id, lines.size);
    return `${text}\n`;
  }
  const up = lines.size - line;
  return `\x1b[${up}A\x1b[2K\r${text}\x1b[${up}B\r`;
}
