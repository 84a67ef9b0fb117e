import { EngineError } from "../common/index.ts";
import type { Descriptor } from "../spec/index.ts";
import { backOffMs, idleTimeoutMs, pause } from "./client-transport.ts";

/** In a row, without a byte between them. */
const maxCuts = 5;

/** Reads a blob over as many connections as it takes, each going on where the last one stopped. */
export async function* readBlob(
  descriptor: Descriptor,
  { open, signal }: { open: (offsetBytes: number) => Promise<Response>; signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  let readBytes = 0;
  for (let cuts = 0; readBytes < descriptor.size || descriptor.size === 0;) {
    const response = await open(readBytes);
    // A registry that knows no ranges sends all of it again.
    let skipBytes = response.status === 206 ? 0 : readBytes;
    requireRange(response, { readBytes, digest: descriptor.digest });
    let cause: unknown;
    try {
      for await (const chunk of bodyOf(response, signal)) {
        const fresh = skipBytes > 0 ? chunk.subarray(skipBytes) : chunk;
        skipBytes = Math.max(0, skipBytes - chunk.length);
        if (fresh.length === 0) continue;
        readBytes += fresh.length;
        cuts = 0;
        yield fresh;
      }
    } catch (error) {
      signal?.throwIfAborted();
      cause = error;
    }
    if (readBytes >= descriptor.size) return;
    if (++cuts > maxCuts) {
      throw new EngineError(
        "unavailable",
        `The download of "${descriptor.digest}" ended after ${readBytes} of ${descriptor.size} bytes, ${cuts} times: unexpected EOF`,
        { cause },
      );
    }
    await pause(backOffMs(cuts), signal);
  }
}

function requireRange(response: Response, { readBytes, digest }: { readBytes: number; digest: string }): void {
  if (response.status !== 206) return;
  const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
  if (start === undefined || Number(start) === readBytes) return;
  throw new EngineError(
    "unavailable",
    `The registry answers with byte ${start} of "${digest}" where ${readBytes} was asked for`,
  );
}

/** The body's chunks; throws when none comes for long. */
async function* bodyOf(response: Response, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const reader: Reader | undefined = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const next = await readOrGiveUp(reader, signal);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

type Reader = Pick<ReadableStreamDefaultReader<Uint8Array>, "read" | "cancel">;

async function readOrGiveUp(reader: Reader, signal: AbortSignal | undefined): ReturnType<Reader["read"]> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no byte came for ${idleTimeoutMs / 1000} s`)), idleTimeoutMs);
  const stop = (): void => reject(signal?.reason as Error);
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([reader.read(), promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}
