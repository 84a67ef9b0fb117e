import { EngineError, formatSize } from "../common/index.ts";
import type { ProgressMessage } from "../spec/index.ts";
import { print, printError } from "./output.ts";

const barCells = 50;
const columnsForBar = 110;
/** Where the window does not say. */
const defaultColumns = 200;

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

/** As docker: a line that has figures, or had, is moved to, written anew, and left again; anything else ends the group. */
function drawnLine(message: ProgressMessage, lines: Map<string, number>): string {
  if (message.stream !== undefined) return message.stream;
  const label = message.id ? `${message.id}: ` : "";
  if (!message.id || (!message.progressDetail && !message.progress)) {
    lines.clear();
    return `${label}${message.status ?? ""}\n`;
  }
  const isNew = !lines.has(message.id);
  if (isNew) lines.set(message.id, lines.size);
  const up = lines.size - (lines.get(message.id) ?? 0);
  const figures =
    progressBar(message.progressDetail ?? {}, process.stdout.columns || defaultColumns) || (message.progress ?? "");
  return `${isNew ? "\n" : ""}\x1b[${up}A\x1b[2K\r${label}${message.status ?? ""} ${figures}\r\x1b[${up}B`;
}

/** `[=====>     ]  1.2MB/5MB`; the bar where the window is wide enough for it. Sizes in bytes. Empty without figures. */
export function progressBar({ current = 0, total = 0 }: { current?: number; total?: number }, columns: number): string {
  if (current <= 0 && total <= 0) return "";
  const size = formatSize(current).padStart(8);
  if (total <= 0) return size;
  const done = Math.min(barCells, Math.floor(Math.trunc((current / total) * 100) / 2));
  const bar = columns > columnsForBar ? `[${"=".repeat(done)}>${" ".repeat(barCells - done)}] ` : "";
  return `${bar}${current > total ? size : `${size}/${formatSize(total)}`}`;
}
