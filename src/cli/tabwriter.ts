const minWidth = 10;
const padding = 3;

/**
 * Aligns tab-separated cells as Go's text/tabwriter does with docker's settings (minimum width 10, padding 3): a column
 * is a run of neighbouring lines whose cell there is ended by a tab; a line's last cell has no width.
 */
export function alignColumns(text: string, options: { minWidth?: number; padding?: number } = {}): string {
  const least = options.minWidth ?? minWidth;
  const extra = options.padding ?? padding;
  const lines = text.split("\n").map((line) => line.split("\t"));
  const widths: number[][] = lines.map(() => []);
  measure(lines, { from: 0, to: lines.length, column: 0, least, extra, widths });
  return lines
    .map((cells, row) =>
      cells
        .map((cell, column) => {
          if (column === cells.length - 1) return cell;
          return cell + " ".repeat(Math.max(0, (widths[row]?.[column] ?? 0) - Bun.stringWidth(cell)));
        })
        .join(""),
    )
    .join("\n");
}

interface Block {
  readonly from: number;
  readonly to: number;
  readonly column: number;
  readonly least: number;
  readonly extra: number;
  readonly widths: number[][];
}

function measure(lines: readonly (readonly string[])[], block: Block): void {
  const { from, to, column, least, extra, widths } = block;
  for (let row = from; row < to;) {
    if ((lines[row]?.length ?? 0) <= column + 1) {
      row++;
      continue;
    }
    let end = row;
    let width = 0;
    while (end < to && (lines[end]?.length ?? 0) > column + 1) {
      width = Math.max(width, Bun.stringWidth(lines[end]?.[column] ?? ""));
      end++;
    }
    // A column of empty cells only has no width, not even the padding.
    const whole = width === 0 ? 0 : Math.max(width + extra, least);
    for (let at = row; at < end; at++) widths[at]?.push(whole);
    measure(lines, { ...block, from: row, to: end, column: column + 1 });
    row = end;
  }
}
