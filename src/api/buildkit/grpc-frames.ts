// gRPC's messages inside an HTTP/2 stream: one byte "compressed", four bytes of length, the message (grpc/grpc, doc/PROTOCOL-HTTP2.md).
import { EngineError } from "../../common/index.ts";

const headBytes = 5;
/** As BuildKit's own services have it. */
const maxMessageBytes = 16 * 1024 * 1024;

/** A message ready for the stream. */
export function frameMessage(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(headBytes + message.length);
  new DataView(framed.buffer).setUint32(1, message.length);
  framed.set(message, headBytes);
  return framed;
}

/** The messages of a stream. Throws unsupported for a compressed one, resourceExhausted for one over 16 MiB, unavailable for a cut one. */
export async function* readMessages(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let neededBytes = headBytes;
  for await (const chunk of chunks) {
    pending.push(chunk);
    pendingBytes += chunk.length;
    if (pendingBytes < neededBytes) continue;
    const whole = pending.length === 1 ? chunk : Buffer.concat(pending);
    let at = 0;
    for (neededBytes = headBytes; whole.length - at >= neededBytes; neededBytes = headBytes) {
      const length = messageLength(whole, at);
      neededBytes = headBytes + length;
      if (whole.length - at < neededBytes) break;
      yield whole.subarray(at + headBytes, at + neededBytes);
      at += neededBytes;
    }
    pending = at === whole.length ? [] : [whole.subarray(at)];
    pendingBytes = whole.length - at;
  }
  if (pendingBytes > 0) throw new EngineError("unavailable", "The gRPC stream ended inside a message");
}

function messageLength(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== 0) throw new EngineError("unsupported", "The gRPC message is compressed, which nobody agreed on");
  const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(1);
  if (length > maxMessageBytes) {
    throw new EngineError("resourceExhausted", `The gRPC message of ${length} bytes is over ${maxMessageBytes}`);
  }
  return length;
}
