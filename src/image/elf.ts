// What a dynamic linker reads of an ELF file: elf(5), and the System V gABI's chapters on program headers and dynamic linking.
import { closeSync, openSync, readSync } from "node:fs";
import { EngineError } from "../common/index.ts";

/** Of one executable or shared library. Names and paths are as the file has them, `$ORIGIN` unresolved. */
export interface ElfFile {
  readonly bits: 32 | 64;
  /** e_machine: a library must have its user's. */
  readonly machine: number;
  /** PT_INTERP: the dynamic linker; undefined for static programs and for libraries. */
  readonly interpreter: string | undefined;
  /** DT_NEEDED, in order. */
  readonly needed: readonly string[];
  /** DT_RPATH and DT_RUNPATH, split at colons. */
  readonly rpath: readonly string[];
  readonly runpath: readonly string[];
}

const maxProgramHeaders = 1024;
const maxDynamicBytes = 1024 * 1024;
const maxTextBytes = 4096;
const programType = { load: 1, dynamic: 2, interpreter: 3 } as const;
const tag = { end: 0, needed: 1, stringTable: 5, rpath: 15, runpath: 29 } as const;

/** Reads the headers of a file; undefined when it is no ELF file. Throws invalidArgument for a broken one. */
export function readElf(path: string): ElfFile | undefined {
  const descriptor = openSync(path, "r");
  try {
    return new ElfReader(path, descriptor).read();
  } finally {
    closeSync(descriptor);
  }
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

class ElfReader {
  #littleEndian = true;
  #bits: 32 | 64 = 64;

  constructor(
    private readonly path: string,
    private readonly descriptor: number,
  ) {}

  read(): ElfFile | undefined {
    const header = this.#bytes(0, 64);
    if (header.byteLength < 52 || header.getUint32(0) !== 0x7f454c46) return undefined;
    this.#bits = header.getUint8(4) === 1 ? 32 : 64;
    this.#littleEndian = header.getUint8(5) === 1;
    if (this.#bits === 64 && header.byteLength < 64) throw this.#broken("it is cut short");
    const machine = header.getUint16(18, this.#littleEndian);
    const segments = this.#segments(header);
    const interpreter = segments.find((segment) => segment.type === programType.interpreter);
    return {
      bits: this.#bits,
      machine,
      interpreter: interpreter && this.#text(interpreter.offset),
      ...this.#dynamic(segments),
    };
  }

  #segments(header: DataView): Segment[] {
    const wide = this.#bits === 64;
    const start = this.#word(header, wide ? 32 : 28);
    const entrySize = header.getUint16(wide ? 54 : 42, this.#littleEndian);
    const count = header.getUint16(wide ? 56 : 44, this.#littleEndian);
    if (count > maxProgramHeaders) throw this.#broken(`it has ${count} program headers`);
    const size = wide ? 56 : 32;
    if (count > 0 && entrySize < size) throw this.#broken(`its program headers have ${entrySize} bytes`);
    return Array.from({ length: count }, (_, index) => {
      const view = this.#exact(start + index * entrySize, size);
      return {
        type: view.getUint32(0, this.#littleEndian),
        offset: this.#word(view, wide ? 8 : 4),
        address: this.#word(view, wide ? 16 : 8),
        size: this.#word(view, wide ? 32 : 16),
      };
    });
  }

  #dynamic(segments: readonly Segment[]): Pick<ElfFile, "needed" | "rpath" | "runpath"> {
    const segment = segments.find(({ type }) => type === programType.dynamic);
    const entries = segment ? this.#dynamicEntries(segment) : [];
    const stringsAt = entries.find((entry) => entry.tag === tag.stringTable)?.value;
    if (stringsAt === undefined) return { needed: [], rpath: [], runpath: [] };
    const strings = this.#offsetOf(stringsAt, segments);
    const textsOf = (wanted: number): string[] =>
      entries.filter((entry) => entry.tag === wanted).map((entry) => this.#text(strings + entry.value));
    const pathsOf = (wanted: number): string[] =>
      textsOf(wanted)
        .flatMap((text) => text.split(":"))
        .filter((path) => path !== "");
    return { needed: textsOf(tag.needed), rpath: pathsOf(tag.rpath), runpath: pathsOf(tag.runpath) };
  }

  #dynamicEntries(segment: Segment): { tag: number; value: number }[] {
    if (segment.size > maxDynamicBytes) throw this.#broken(`its dynamic section has ${segment.size} bytes`);
    const word = this.#bits / 8;
    const view = this.#exact(segment.offset, segment.size);
    const entries: { tag: number; value: number }[] = [];
    for (let at = 0; at + 2 * word <= view.byteLength; at += 2 * word) {
      const entry = { tag: this.#word(view, at), value: this.#word(view, at + word) };
      if (entry.tag === tag.end) break;
      entries.push(entry);
    }
    return entries;
  }

  /** Where in the file the bytes lie that are loaded at an address. */
  #offsetOf(address: number, segments: readonly Segment[]): number {
    const segment = segments.find(
      ({ type, address: start, size }) => type === programType.load && start <= address && address < start + size,
    );
    if (!segment) throw this.#broken("its string table is in no segment");
    return address - segment.address + segment.offset;
  }

  #word(view: DataView, at: number): number {
    if (this.#bits === 32) return view.getUint32(at, this.#littleEndian);
    // Tags above 2^53 are vendors' own and not looked at; offsets that large cannot be read anyway.
    return Number(view.getBigUint64(at, this.#littleEndian));
  }

  #text(offset: number): string {
    const view = this.#bytes(offset, maxTextBytes);
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    const end = bytes.indexOf(0);
    if (end === -1) throw this.#broken("a text in it has no end");
    return Buffer.from(bytes.subarray(0, end)).toString("utf8");
  }

  #exact(offset: number, size: number): DataView {
    const view = this.#bytes(offset, size);
    if (view.byteLength < size) throw this.#broken("it is cut short");
    return view;
  }

  #bytes(offset: number, size: number): DataView {
    if (!Number.isSafeInteger(offset)) throw this.#broken(`the offset ${offset} is out of range`);
    const buffer = new Uint8Array(size);
    const length = readSync(this.descriptor, buffer, 0, size, offset);
    return new DataView(buffer.buffer, 0, length);
  }

  #broken(why: string): EngineError {
    return new EngineError("invalidArgument", `The ELF file "${this.path}" is broken: ${why}`);
  }
}
