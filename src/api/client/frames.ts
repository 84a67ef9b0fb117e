import { EngineError } from "../../common/index.ts";

export interface OutputFrame {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
}

const headerBytes = 8;

/**
 * Splits the multiplexed stream of attach, logs and exec (Engine API, "Stream format"): frames of one byte stream, three
 * zero bytes, four bytes of big-endian length, then the data. Data is passed on as it arrives, before its frame is whole.
 */
export async function* readFrames(source: AsyncIterable<Uint8Array>): AsyncGenerator<OutputFrame> {
  let header: Buffer = Buffer.alloc(0);
  let left = 0;
  let stream: OutputFrame["stream"] = "stdout";
  for await (const chunk of source) {
    let rest: Uint8Array = chunk;
    while (rest.length > 0) {
      if (left > 0) {
        const data = rest.subarray(0, left);
        left -= data.length;
        rest = rest.subarray(data.length);
        yield { stream, data };
        continue;
      }
      const taken = rest.subarray(0, headerBytes - header.length);
      header = Buffer.concat([header, taken]);
      rest = rest.subarray(taken.length);
      if (header.length < headerBytes) break;
      stream = streamOf(header[0] ?? 0);
      left = header.readUInt32BE(4);
      header = Buffer.alloc(0);
    }
  }
  if (left > 0 || header.length > 0) throw new EngineError("unavailable", "unexpected EOF");
}

function streamOf(type: number): OutputFrame["stream"] {
  if (type === 0 || type === 1) return "stdout";
  if (type === 2 || type === 3) return "stderr";
  throw new EngineError("internal", `Unrecognized input header: ${type}`);
}
