import type { Part } from "./parts.ts";

const lineHeight = 18;
const titleHeight = 26;
const padding = 14;
const characterWidth = 7.3;
const margin = 28;
const captionHeight = 34;
const gap = 16;
/** How far a slab of the pile of layers reaches back, to the right and up. */
const depth = { x: 14, y: 10 };

interface Colours {
  readonly front: string;
  readonly edge: string;
}

const colours: Readonly<Record<Part["kind"], Colours>> = {
  process: { front: "#eaf2fd", edge: "#3b78c3" },
  limits: { front: "#fef6e4", edge: "#c98a1b" },
  network: { front: "#e9f8ee", edge: "#2f9254" },
  writable: { front: "#fdece9", edge: "#c9503c" },
  init: { front: "#f3f3f5", edge: "#8a8f98" },
  image: { front: "#f4eefb", edge: "#8459b8" },
};

const layerKinds: ReadonlySet<Part["kind"]> = new Set(["writable", "init", "image"]);

/**
 * The parts as an SVG document that needs nothing else, with all that the terminal's boxes hold: on the left the process with its walls,
 * on the right its layers as the pile that they are.
 */
export function drawSvg(parts: readonly Part[]): string {
  const cards = parts.filter(({ kind }) => !layerKinds.has(kind));
  const layers = parts.filter(({ kind }) => layerKinds.has(kind));
  const left = drawColumn(cards, { left: margin, caption: "a process with walls", asPile: false });
  const right = drawColumn(layers, {
    left: left.right + 2 * margin,
    caption: "one tree out of many layers: the upper hides the lower",
    asPile: true,
  });
  const [width, height] = [right.right + margin, Math.max(left.bottom, right.bottom) + margin];
  return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
${left.drawing}
${right.drawing}
</svg>
`;
}

interface Column {
  readonly drawing: string;
  readonly right: number;
  readonly bottom: number;
}

function drawColumn(parts: readonly Part[], place: { left: number; caption: string; asPile: boolean }): Column {
  const { left, caption, asPile } = place;
  // Slabs lie on each other.
  const step = asPile ? depth.y : gap;
  const nameColumns = Math.max(0, ...parts.flatMap((part) => part.rows.map(([name]) => name.length))) + 2;
  const longest = Math.max(
    caption.length,
    ...parts.flatMap((part) => [part.title.length + 4, ...part.rows.map(([, value]) => nameColumns + value.length)]),
  );
  const width = Math.ceil(longest * characterWidth) + 2 * padding;
  let top = margin + captionHeight;
  const boxes = parts.map((part) => {
    const height = titleHeight + part.rows.length * lineHeight + padding;
    const box = `<g>
${asPile ? drawSlab(part, { left, top, width, height }) : drawCard(part, { left, top, width, height })}
${drawWords(part, { left: left + padding, top, nameColumns })}
</g>`;
    top += height + step;
    return box;
  });
  const heading = `<text x="${left}" y="${margin + 12}" ${sans} font-size="15" fill="#555b66">${escape(caption)}</text>`;
  return {
    drawing: [heading, ...boxes].join("\n"),
    right: left + width + (asPile ? depth.x : 0),
    bottom: top - step,
  };
}

interface Area {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

function drawCard({ kind }: Part, { left, top, width, height }: Area): string {
  const { front, edge } = colours[kind];
  return `<rect x="${left}" y="${top}" width="${width}" height="${height}" rx="8" fill="${front}" stroke="${edge}" stroke-opacity="0.55"/>
<rect x="${left}" y="${top + 8}" width="4" height="${height - 16}" fill="${edge}"/>`;
}

/** A box seen from above and from the left: front, top and side. */
function drawSlab({ kind }: Part, { left, top, width, height }: Area): string {
  const { front, edge } = colours[kind];
  const [right, bottom] = [left + width, top + height];
  const outline = `stroke="${edge}" stroke-opacity="0.55" stroke-linejoin="round"`;
  return `<path d="M${left} ${top}l${depth.x} ${-depth.y}H${right + depth.x}L${right} ${top}z" fill="${edge}" fill-opacity="0.18" ${outline}/>
<path d="M${right} ${top}l${depth.x} ${-depth.y}V${bottom - depth.y}L${right} ${bottom}z" fill="${edge}" fill-opacity="0.32" ${outline}/>
<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="${front}" ${outline}/>`;
}

const sans = `font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"`;
const monospaced = `font-family="ui-monospace, 'DejaVu Sans Mono', monospace"`;

function drawWords(part: Part, place: { left: number; top: number; nameColumns: number }): string {
  const { left, top, nameColumns } = place;
  const valueLeft = left + nameColumns * characterWidth;
  const title = `<text x="${left}" y="${top + 20}" ${sans} font-size="13.5" font-weight="bold" fill="${colours[part.kind].edge}" xml:space="preserve">${escape(part.title)}</text>`;
  const rows = part.rows.map(([name, value], index) => {
    const y = top + titleHeight + (index + 1) * lineHeight - 3;
    return `<text x="${left}" y="${y}" ${monospaced} fill="#6b7280">${escape(name)}</text><text x="${valueLeft}" y="${y}" ${monospaced} fill="#1f2430" xml:space="preserve">${escape(value)}</text>`;
  });
  return [title, ...rows].join("\n");
}

function escape(text: string): string {
  const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  // XML 1.0 has no place for control characters, not even escaped.
  return text
    .replace(/[&<>"]/g, (character) => entities[character] ?? character)
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, "\uFFFD");
}
