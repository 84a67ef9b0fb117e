// The parser is pushed bytes and calls a sink, all synchronously: an unpack of many small files awaits once a chunk.
import { bytesToPath } from "../kernel/index.ts";
import { applyPax, parsePax, type PaxRecord } from "./pax.ts";
import {
  InlineSparseMap,
  checkSparse,
  oldGnuRealSize,
  parseOldGnuRegions,
  paxSparse,
  type SparseMap,
  type SparseRegion,
} from "./sparse.ts";
import {
  blockSize,
  noXattrs,
  parseHeaderBlock,
  tarError,
  type RawHeader,
  type TarHeader,
  type TarType,
} from "./tar-header.ts";

/** Receives one entry after another. `data` gives bytes with their place in the file; a sparse file's holes are skipped. */
export interface TarSink {
  entry(header: TarHeader): void;
  data(bytes: Uint8Array, offset: number): void;
  end(): void;
}

/** What an archive may declare. Reaching one is an error that names it. */
export interface TarLimits {
  readonly entrySizeBytes: number;
  /** One pax header, long name or long link. */
  readonly metadataBytes: number;
  readonly nameBytes: number;
  readonly sparseRegions: number;
  readonly entries: number;
}

export const defaultTarLimits: TarLimits = {
  entrySizeBytes: 2 ** 40,
  metadataBytes: 1024 * 1024,
  nameBytes: 4095,
  sparseRegions: 1_000_000,
  entries: 10_000_000,
};

const typeOfFlag: Readonly<Record<string, TarType>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  S: "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  D: "directory",
  "6": "fifo",
};

type State = "header" | "metadata" | "extension" | "map" | "body" | "padding" | "done";

export class TarParser {
  readonly #sink: TarSink;
  readonly #limits: TarLimits;
  readonly #block = Buffer.alloc(blockSize);
  #filled = 0;
  #state: State = "header";
  #zeroBlocks = 0;
  #entries = 0;
  /** Bytes of the present body that are still to come, and the padding after it. */
  #left = 0;
  #padding = 0;
  #metadataFlag = "";
  #metadata: Buffer[] = [];
  #globalRecords = new Map<string, Buffer>();
  #records: PaxRecord[] = [];
  #longName: string | undefined;
  #longLink: string | undefined;
  #header: TarHeader | undefined;
  #storedSize = 0;
  #realSize = 0;
  #regions: SparseRegion[] | undefined;
  #region = 0;
  #regionDone = 0;
  #inlineMap: InlineSparseMap | undefined;
  #offset = 0;

  constructor(sink: TarSink, limits: Partial<TarLimits> = {}) {
    this.#sink = sink;
    this.#limits = { ...defaultTarLimits, ...limits };
  }

  /** True once the end-of-archive mark was read; later bytes are ignored. */
  get done(): boolean {
    return this.#state === "done";
  }

  push(bytes: Uint8Array): void {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    while (at < chunk.length && this.#state !== "done") {
      switch (this.#state) {
        case "header":
        case "extension":
        case "map": {
          const take = Math.min(blockSize - this.#filled, chunk.length - at);
          if (take === blockSize) this.#takeBlock(chunk.subarray(at, at + blockSize));
          else {
            chunk.copy(this.#block, this.#filled, at, at + take);
            this.#filled += take;
            if (this.#filled === blockSize) {
              this.#filled = 0;
              this.#takeBlock(this.#block);
            }
          }
          at += take;
          break;
        }
        case "metadata":
        case "body": {
          const take = Math.min(this.#left, chunk.length - at);
          this.#left -= take;
          const piece = chunk.subarray(at, at + take);
          if (this.#state === "metadata") this.#metadata.push(Buffer.from(piece));
          else this.#deliver(piece);
          at += take;
          if (this.#left === 0) this.#endBody();
          break;
        }
        case "padding": {
          const take = Math.min(this.#padding, chunk.length - at);
          this.#padding -= take;
          at += take;
          if (this.#padding === 0) this.#state = "header";
          break;
        }
      }
    }
  }

  /** Call at the end of the stream. Throws when it came before the end-of-archive mark; where that is optional, inside an entry. */
  finish(endMark: "required" | "optional" = "required"): void {
    if (this.#state === "done") return;
    const betweenEntries = this.#state === "padding" || (this.#state === "header" && this.#filled === 0);
    if (endMark === "optional" && betweenEntries) return;
    if (this.#state === "header" && this.#zeroBlocks === 1 && this.#filled === 0) return;
    throw tarError("it ends before its end-of-archive mark: it is truncated");
  }

  #takeBlock(block: Buffer): void {
    if (this.#state === "extension") return this.#takeExtension(block);
    if (this.#state === "map") return this.#takeMap(block);
    if (isZero(block)) {
      if (++this.#zeroBlocks === 2) this.#state = "done";
      return;
    }
    if (this.#zeroBlocks > 0) throw tarError("a header follows a lone zero block");
    if (++this.#entries > this.#limits.entries) throw tarError(`it has more than ${this.#limits.entries} entries`);
    const raw = parseHeaderBlock(block);
    if (raw.size < 0) throw tarError(`"${raw.name}" has the size ${raw.size}`);
    if ("xXgLK".includes(raw.flag)) return this.#startMetadata(raw);
    // A volume label is no file.
    if (raw.flag === "V") return this.#resetNames();
    this.#startEntry(raw, block);
  }

  #startMetadata(raw: RawHeader): void {
    if (raw.size > this.#limits.metadataBytes) {
      throw tarError(`an extended header of ${raw.size} bytes passes the limit of ${this.#limits.metadataBytes}`);
    }
    this.#metadataFlag = raw.flag;
    this.#metadata = [];
    this.#startBody("metadata", raw.size);
  }

  #startBody(state: "metadata" | "body", size: number): void {
    this.#state = state;
    this.#left = size;
    this.#padding = (blockSize - (size % blockSize)) % blockSize;
    if (size === 0) this.#endBody();
  }

  #endBody(): void {
    const wasMetadata = this.#state === "metadata";
    this.#state = this.#padding > 0 ? "padding" : "header";
    if (wasMetadata) this.#endMetadata(Buffer.concat(this.#metadata));
    else this.#sink.end();
  }

  #endMetadata(bytes: Buffer): void {
    switch (this.#metadataFlag) {
      case "L":
        this.#longName = longText(bytes);
        break;
      case "K":
        this.#longLink = longText(bytes);
        break;
      case "g":
        for (const [key, value] of parsePax(bytes)) {
          if (value.length === 0) this.#globalRecords.delete(key);
          else this.#globalRecords.set(key, value);
        }
        if (this.#globalRecords.size > 10_000) throw tarError("it has more than 10000 global pax records");
        break;
      default:
        this.#records = parsePax(bytes);
    }
  }

  #resetNames(): void {
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#records = [];
  }

  #startEntry(raw: RawHeader, block: Buffer): void {
    const type = typeOfFlag[raw.flag];
    if (!type) throw tarError(`"${raw.name}" is of the type ${JSON.stringify(raw.flag)}, which is not known`);
    const header: TarHeader = {
      name: this.#longName ?? raw.name,
      type,
      mode: raw.mode,
      uid: raw.uid,
      gid: raw.gid,
      size: raw.size,
      mtimeNs: BigInt(raw.mtimeSeconds) * 1_000_000_000n,
      linkName: this.#longLink ?? raw.linkName,
      major: raw.major,
      minor: raw.minor,
      userName: raw.userName,
      groupName: raw.groupName,
      xattrs: noXattrs,
    };
    const records = this.#globalRecords.size === 0 ? this.#records : [...this.#globalRecords, ...this.#records];
    if (records.length > 0) applyPax(header, records);
    this.#resetNames();
    this.#header = header;
    this.#storedSize = header.size;
    this.#regions = undefined;
    this.#inlineMap = undefined;
    if (raw.flag === "S") return this.#startOldSparse(block);
    const sparse = type === "file" ? paxSparse(records, this.#limits.sparseRegions) : undefined;
    if (sparse) {
      if (sparse.name !== undefined) header.name = sparse.name;
      if (sparse.kind === "map") return this.#startSparse(sparse.map);
      this.#realSize = sparse.realSize;
      this.#inlineMap = new InlineSparseMap();
      this.#state = "map";
      return;
    }
    if (type === "file" && header.name.endsWith("/") && header.size === 0) header.type = "directory";
    this.#emit();
  }

  #startOldSparse(block: Buffer): void {
    const { regions, more } = parseOldGnuRegions(block, "header");
    this.#realSize = oldGnuRealSize(block);
    this.#regions = regions;
    if (more) this.#state = "extension";
    else this.#startSparse({ realSize: this.#realSize, regions });
  }

  #takeExtension(block: Buffer): void {
    const { regions, more } = parseOldGnuRegions(block, "extension");
    const all = this.#regions ?? [];
    all.push(...regions);
    if (all.length > this.#limits.sparseRegions) throw tarError("a sparse file has too many regions");
    if (!more) this.#startSparse({ realSize: this.#realSize, regions: all });
  }

  #takeMap(block: Buffer): void {
    const map = this.#inlineMap;
    if (!map || this.#storedSize < map.sizeBytes + blockSize) throw tarError("a sparse file's map passes its data");
    const regions = map.push(block, this.#limits.sparseRegions);
    if (!regions) return;
    this.#storedSize -= map.sizeBytes;
    this.#startSparse({ realSize: this.#realSize, regions });
  }

  #startSparse(map: SparseMap): void {
    const checked = checkSparse(map, this.#storedSize);
    // Regions of no length only mark the end of the file.
    this.#regions = checked.regions.filter((region) => region.length > 0);
    if (this.#header) this.#header.size = map.realSize;
    this.#emit();
  }

  #emit(): void {
    const header = this.#header;
    if (!header) return;
    this.#check(header);
    if (header.type !== "file") header.size = 0;
    this.#offset = 0;
    this.#region = 0;
    this.#regionDone = 0;
    this.#sink.entry(header);
    this.#startBody("body", header.type === "file" ? this.#storedSize : 0);
  }

  #check(header: TarHeader): void {
    while (header.name.endsWith("/") && header.name.length > 1) header.name = header.name.slice(0, -1);
    for (const text of [header.name, header.linkName]) {
      if (Buffer.byteLength(text) > this.#limits.nameBytes) {
        throw tarError(`the name "${text.slice(0, 40)}…" is longer than ${this.#limits.nameBytes} bytes`);
      }
    }
    if (header.name === "") throw tarError("an entry has no name");
    if (
      header.type === "file" &&
      (header.size > this.#limits.entrySizeBytes || this.#storedSize > this.#limits.entrySizeBytes)
    ) {
      throw tarError(
        `"${header.name}" says it has ${header.size} bytes, and ${this.#limits.entrySizeBytes} is the limit`,
      );
    }
    for (const [what, id] of [
      ["user", header.uid],
      ["group", header.gid],
    ] as const) {
      // 2^32-1 means "leave as it is" to chown(2).
      if (id < 0 || id >= 2 ** 32 - 1) throw tarError(`"${header.name}" belongs to the ${what} id ${id}`);
    }
    const device = header.type === "character" || header.type === "block";
    if (device && (header.major < 0 || header.major > 0xfff || header.minor < 0 || header.minor > 0xfffff)) {
      throw tarError(`"${header.name}" is the device ${header.major}:${header.minor}, which Linux does not have`);
    }
  }

  #deliver(piece: Buffer): void {
    const regions = this.#regions;
    if (!regions) {
      this.#sink.data(piece, this.#offset);
      this.#offset += piece.length;
      return;
    }
    for (let at = 0; at < piece.length;) {
      const region = regions[this.#region];
      if (!region) throw tarError("a sparse file stores more than its map covers");
      const take = Math.min(region.length - this.#regionDone, piece.length - at);
      this.#sink.data(piece.subarray(at, at + take), region.offset + this.#regionDone);
      at += take;
      this.#regionDone += take;
      if (this.#regionDone === region.length) {
        this.#region++;
        this.#regionDone = 0;
      }
    }
  }
}

const zeroBlock = Buffer.alloc(blockSize);

function isZero(block: Buffer): boolean {
  return block[0] === 0 && block.equals(zeroBlock);
}

function longText(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytesToPath(end < 0 ? bytes : bytes.subarray(0, end));
}
