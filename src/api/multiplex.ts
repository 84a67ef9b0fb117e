import type { OutputChunk } from "../engine/index.ts";

/** Docker's stream header: 1 or 2, three zeros, the payload's length in 4 bytes big-endian (API reference, ContainerAttach). */
export function frame(chunk: OutputChunk): Uint8Array {
  const framed = Buffer.allocUnsafe(8 + chunk.data.length);
  framed.writeUInt32BE(chunk.stream === "stdout" ? 0x01000000 : 0x02000000, 0);
  framed.writeUInt32BE(chunk.data.length, 4);
  framed.set(chunk.data, 8);
  return framed;
}

export const rawStreamType = "application/vnd.docker.raw-stream";
export const multiplexedStreamType = "application/vnd.docker.multiplexed-stream";
