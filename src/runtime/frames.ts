// The frames between daemon and monitor (docs/flows/monitor-protocol.md).

/** The version of all this, which a monitor says in its hello; helper/base.h has the same. */
export const monitorProtocol = 1;

export const frameType = {
  stdin: 0,
  stdout: 1,
  stderr: 2,
  hello: 16,
  report: 17,
  ready: 18,
  go: 19,
  started: 20,
  failed: 21,
  exited: 22,
  attach: 23,
  attached: 24,
  lagging: 25,
  resize: 26,
  signal: 27,
  done: 28,
  exec: 29,
  subscribe: 30,
} as const;

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

export const frameHeaderBytes = 8;
export const maxPayloadBytes = 64 * 1024;

/** Type, three zeros, length big-endian, payload: Docker's stream header. */
export function encodeFrame(type: number, payload: Uint8Array = new Uint8Array()): Buffer {
  if (payload.length > maxPayloadBytes) throw new RangeError(`A frame of ${payload.length} bytes is too long`);
  const frame = Buffer.allocUnsafe(frameHeaderBytes + payload.length);
  frame.writeUInt32BE(type * 0x1000000, 0);
  frame.writeUInt32BE(payload.length, 4);
  frame.set(payload, frameHeaderBytes);
  return frame;
}

/** Text fields, each ended by NUL. */
export function encodeFields(fields: readonly string[]): Buffer {
  return Buffer.from(fields.map((field) => `${field}\0`).join(""), "utf8");
}

export function decodeFields(payload: Buffer): string[] {
  return payload.toString("utf8").split("\0").slice(0, -1);
}

/** Cuts a stream of bytes into frames. Throws RangeError when it is none of ours: nothing can be read after that. */
export class FrameParser {
  #pending: Buffer = Buffer.alloc(0);

  push(chunk: Uint8Array): Frame[] {
    const bytes = this.#pending.length > 0 ? Buffer.concat([this.#pending, chunk]) : Buffer.from(chunk);
    const frames: Frame[] = [];
    let at = 0;
    while (bytes.length - at >= frameHeaderBytes) {
      const length = bytes.readUInt32BE(at + 4);
      if (bytes.readUInt32BE(at) & 0xffffff || length > maxPayloadBytes) {
        throw new RangeError("The monitor sent bytes that are no frame");
      }
      const end = at + frameHeaderBytes + length;
      if (end > bytes.length) break;
      frames.push({ type: bytes.readUInt8(at), payload: bytes.subarray(at + frameHeaderBytes, end) });
      at = end;
    }
    this.#pending = bytes.subarray(at);
    return frames;
  }
}

/** What an op did: errno 0 when it did it; nanoseconds it took. */
export interface OpReport {
  readonly index: number;
  readonly errno: number;
  readonly nanoseconds: number;
  /** What the helper adds: on which value it failed, or what it had to leave out. */
  readonly detail: string;
}

/** A report frame holds one op or several. */
export function decodeReports(payload: Buffer): OpReport[] {
  const fields = decodeFields(payload);
  const reports: OpReport[] = [];
  for (let at = 0; at + 4 <= fields.length; at += 4) {
    const [index, errno, nanoseconds, detail = ""] = fields.slice(at, at + 4);
    reports.push({ index: Number(index), errno: Number(errno), nanoseconds: Number(nanoseconds), detail });
  }
  return reports;
}
