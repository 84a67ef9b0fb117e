import type { Part } from "./parts.ts";

const lineHeight = 18;
const padding = 12;
const gap = 8;
const characterWidth = 7.3;
const margin = 16;

const fills: Readonly<Record<Part["kind"], string>> = {
  process: "#e8f1fb",
  limits: "#fdf3e1",
  network: "#e9f7ec",
  writable: "#fbe9e7",
  init: "#f1f1f1",
  image: "#f3edf9",
};

/** The parts as an SVG document that needs nothing else: the same boxes as the terminal's, none of them cut. */
export function drawSvg(parts: readonly Part[]): string {
  const nameColumns = Math.max(...parts.flatMap((part) => part.rows.map(([name]) => name.length))) + 2;
  const longest = Math.max(
    ...parts.flatMap((part) => [part.title.length, ...part.rows.map(([, value]) => nameColumns + value.length)]),
  );
  const width = Math.ceil(longest * characterWidth) + 2 * padding;
  let top = margin;
  const boxes = parts.map((part) => {
    const box = drawBox(part, { top, width, nameColumns });
    top += heightOf(part) + gap;
    return box;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${width + 2 * margin}" height="${top - gap + margin}" font-family="ui-monospace, monospace" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
${boxes.join("\n")}
</svg>
`;
}

function heightOf(part: Part): number {
  return (part.rows.length + 1) * lineHeight + padding;
}

function drawBox(part: Part, place: { top: number; width: number; nameColumns: number }): string {
  const { top, width, nameColumns } = place;
  const left = margin + padding;
  const valueLeft = left + nameColumns * characterWidth;
  const lines = part.rows.map(([name, value], index) => {
    const y = top + (index + 2) * lineHeight;
    return `<text x="${left}" y="${y}" fill="#666666">${escape(name)}</text><text x="${valueLeft}" y="${y}">${escape(value)}</text>`;
  });
  return `<g>
<rect x="${margin}" y="${top}" width="${width}" height="${heightOf(part)}" rx="6" fill="${fills[part.kind]}" stroke="#555555"/>
<text x="${left}" y="${top + lineHeight}" font-weight="bold">${escape(part.title)}</text>
${lines.join("\n")}
</g>`;
}

function escape(text: string): string {
  const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  // XML 1.0 has no place for control characters, not even escaped.
  return text
    .replace(/[&<>"]/g, (character) => entities[character] ?? character)
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, "\uFFFD");
}
