import { ellipsis } from "../display.ts";
import type { Part } from "./parts.ts";

const leastColumns = 40;

/** The parts as boxes on top of each other; what does not fit `columns` is cut. Without `columns` nothing is cut. */
export function drawText(parts: readonly Part[], columns?: number): string {
  const lines = parts.map((part) => [part.title, ...rowLines(part)]);
  const widest = Math.max(...lines.flat().map((line) => Bun.stringWidth(line)));
  const inner = Math.max(Math.min(widest, (columns ?? Number.POSITIVE_INFINITY) - 4), leastColumns);
  const boxes = lines.map(([title = "", ...rows], index) => {
    const [left, right] = index === 0 ? ["┌", "┐"] : ["├", "┤"];
    return [`${left}${titleLine(title, inner)}${right}`, ...rows.map((row) => `│ ${fit(row, inner)} │`)].join("\n");
  });
  return `${boxes.join("\n")}\n└${"─".repeat(inner + 2)}┘\n`;
}

function titleLine(title: string, inner: number): string {
  const text = fit(title, inner).trimEnd();
  return `─ ${text} ${"─".repeat(Math.max(0, inner - Bun.stringWidth(text) - 1))}`;
}

function rowLines(part: Part): string[] {
  const width = Math.max(0, ...part.rows.map(([name]) => Bun.stringWidth(name)));
  return part.rows.map(([name, value]) => `${name}${" ".repeat(width - Bun.stringWidth(name))}  ${value}`);
}

function fit(text: string, columns: number): string {
  const short = ellipsis(text, columns);
  return short + " ".repeat(columns - Bun.stringWidth(short));
}
