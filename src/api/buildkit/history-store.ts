import { createHash } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { historyRecordMessage, statusResponse, type HistoryRecord, type StatusResponse } from "./control-messages.ts";

/** What is kept of one build's progress; what comes beyond is told to those who listen, and not kept. */
const maxLogBytes = 4 * 1024 * 1024;
const bufferBytes = 64 * 1024;
/** Before each message of a log: its length. */
const headBytes = 4;

/** Records of builds and their progress, a file each: they outlive the engine. Nothing waits for the disk. */
export class HistoryStore {
  constructor(private readonly folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** All that can be read, the oldest first; what cannot is removed. */
  load(): HistoryRecord[] {
    const records: HistoryRecord[] = [];
    for (const name of readdirSync(this.folder)) {
      const path = join(this.folder, name);
      if (name.endsWith(".record")) {
        try {
          records.push(historyRecordMessage.decode(readFileSync(path)));
          continue;
        } catch {
          // A power cut may leave a piece of one.
        }
      } else if (name.endsWith(".log") && existsSync(path.replace(/log$/, "record"))) continue;
      rmSync(path, { force: true });
    }
    return records.toSorted((left, right) => startOf(left) - startOf(right));
  }

  save(record: HistoryRecord): void {
    const path = this.#path(record.ref, "record");
    writeFileSync(`${path}.new`, historyRecordMessage.encode(record), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  remove(ref: string): void {
    for (const kind of ["record", "log"] as const) rmSync(this.#path(ref, kind), { force: true });
  }

  /** Takes a build's progress; `end` writes what is left. */
  log(ref: string): { add(status: StatusResponse): void; end(): void } {
    const path = this.#path(ref, "log");
    let pending: Uint8Array[] = [];
    let pendingBytes = 0;
    let totalBytes = 0;
    const flush = (): void => {
      if (pendingBytes > 0) appendFileSync(path, Buffer.concat(pending), { mode: 0o600 });
      pending = [];
      pendingBytes = 0;
    };
    return {
      add(status) {
        const message = statusResponse.encode(status);
        if (totalBytes + message.length > maxLogBytes) return;
        const head = Buffer.alloc(headBytes);
        head.writeUInt32BE(message.length);
        pending.push(head, message);
        pendingBytes += headBytes + message.length;
        totalBytes += headBytes + message.length;
        if (pendingBytes >= bufferBytes) flush();
      },
      end: flush,
    };
  }

  /** A build's progress as it was; one that a power cut ended stops where it was cut. */
  *read(ref: string): Generator<StatusResponse> {
    const path = this.#path(ref, "log");
    if (!existsSync(path)) return;
    const bytes = readFileSync(path);
    for (let at = 0; at + headBytes <= bytes.length;) {
      const end = at + headBytes + bytes.readUInt32BE(at);
      if (end > bytes.length) return;
      yield statusResponse.decode(bytes.subarray(at + headBytes, end));
      at = end;
    }
  }

  /** Named by a digest, since a client may call its build anything. */
  #path(ref: string, kind: "record" | "log"): string {
    return join(this.folder, `${createHash("sha256").update(ref).digest("hex").slice(0, 32)}.${kind}`);
  }
}

function startOf({ createdAt }: HistoryRecord): number {
  return (createdAt?.seconds ?? 0) + (createdAt?.nanos ?? 0) / 1e9;
}
