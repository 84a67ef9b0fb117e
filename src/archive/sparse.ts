// Sparse files: GNU tar manual, "Storing Sparse Files", formats old GNU, pax 0.0, 0.1 and 1.0.
import { paxNumber, paxText, type PaxRecord } from "./pax.ts";
import { blockSize, parseNumber, tarError } from "./tar-header.ts";

/** A stretch of stored data: where it belongs in the file, in bytes. */
export interface SparseRegion {
  readonly offset: number;
  readonly length: number;
}

export interface SparseMap {
  readonly realSize: number;
  readonly regions: readonly SparseRegion[];
}

/** Checks what the reader relies on: in order, apart, inside the file, and together what the archive stores. */
export function checkSparse(map: SparseMap, storedSize: number): SparseMap {
  let end = 0;
  let stored = 0;
  for (const { offset, length } of map.regions) {
    if (offset < end || length > map.realSize - offset) throw tarError("a sparse file's map is out of order");
    end = offset + length;
    stored += length;
  }
  if (stored !== storedSize) throw tarError(`a sparse file's map covers ${stored} bytes, and ${storedSize} are stored`);
  return map;
}

/** The map at the start of an old GNU header or extension block; `more` when another extension block follows. */
export function parseOldGnuRegions(
  block: Buffer,
  kind: "header" | "extension",
): { regions: SparseRegion[]; more: boolean } {
  const start = kind === "header" ? 386 : 0;
  const count = kind === "header" ? 4 : 21;
  const regions: SparseRegion[] = [];
  for (let index = 0; index < count; index++) {
    const at = start + index * 24;
    if (block[at] === 0) break;
    const offset = parseNumber(block, { at, length: 12, field: "sparse offset" });
    const length = parseNumber(block, { at: at + 12, length: 12, field: "sparse length" });
    if (offset < 0 || length < 0) throw tarError("a sparse file's map has a negative number");
    regions.push({ offset, length });
  }
  return { regions, more: (block[start + count * 24] ?? 0) !== 0 };
}

export function oldGnuRealSize(block: Buffer): number {
  return parseNumber(block, { at: 483, length: 12, field: "real size" });
}

/** What pax records say of a sparse file: nothing, a whole map (0.0, 0.1), or that the map stands before the data (1.0). */
export type PaxSparse =
  | { readonly kind: "map"; readonly name: string | undefined; readonly map: SparseMap }
  | { readonly kind: "inline"; readonly name: string | undefined; readonly realSize: number };

export function paxSparse(records: readonly PaxRecord[], limit: number): PaxSparse | undefined {
  if (!records.some(([key]) => key.startsWith("GNU.sparse."))) return undefined;
  const last = new Map(records);
  const number = (key: string): number => {
    const value = last.get(key);
    if (!value) throw tarError(`a sparse file lacks the record ${key}`);
    return paxNumber(key, value);
  };
  const nameRecord = last.get("GNU.sparse.name");
  const name = nameRecord && paxText("GNU.sparse.name", nameRecord);
  if (last.has("GNU.sparse.major")) {
    const version = `${number("GNU.sparse.major")}.${number("GNU.sparse.minor")}`;
    if (version !== "1.0") throw tarError(`sparse format ${version} is not known`);
    return { kind: "inline", name, realSize: number("GNU.sparse.realsize") };
  }
  const list = last.get("GNU.sparse.map");
  const numbers = list
    ? list
        .toString("latin1")
        .split(",")
        .filter((part) => part !== "")
        .map((part) => paxNumber("GNU.sparse.map", Buffer.from(part)))
    : records
        .filter(([key]) => key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes")
        .map(([key, value]) => paxNumber(key, value));
  if (numbers.length % 2 !== 0 || numbers.length > limit * 2)
    throw tarError("a sparse file's map is incomplete or too long");
  const regions: SparseRegion[] = [];
  for (let index = 0; index < numbers.length; index += 2) {
    regions.push({ offset: numbers[index] ?? 0, length: numbers[index + 1] ?? 0 });
  }
  return { kind: "map", name, map: { realSize: number("GNU.sparse.size"), regions } };
}

/** Collects the map that stands before a 1.0 file's data, block by block: decimal numbers, a line each, the count first. */
export class InlineSparseMap {
  #partial = "";
  #numbers: number[] = [];
  #blocks = 0;

  /** Regions once the map is whole; undefined while another block is needed. */
  push(block: Buffer, limit: number): SparseRegion[] | undefined {
    this.#blocks++;
    const lines = (this.#partial + block.toString("latin1", 0, blockSize)).split("\n");
    this.#partial = lines.pop() ?? "";
    if (this.#partial.length > blockSize) throw tarError("a sparse file's map is no list of numbers");
    for (const line of lines) {
      const [count] = this.#numbers;
      // What follows the last number is padding.
      if (count !== undefined && this.#numbers.length === 1 + count * 2) break;
      this.#numbers.push(paxNumber("GNU.sparse map", Buffer.from(line)));
      if ((this.#numbers[0] ?? 0) > limit) throw tarError(`a sparse file has more than ${limit} regions`);
    }
    const [count] = this.#numbers;
    if (count === undefined || this.#numbers.length < 1 + count * 2) return undefined;
    return Array.from({ length: count }, (_, index) => ({
      offset: this.#numbers[1 + index * 2] ?? 0,
      length: this.#numbers[2 + index * 2] ?? 0,
    }));
  }

  get sizeBytes(): number {
    return this.#blocks * blockSize;
  }
}
