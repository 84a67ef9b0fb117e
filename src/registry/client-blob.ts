import { EngineError } from "../common/index.ts";
import type { Descriptor } from "../spec/index.ts";
import { backOffMs, idleTimeoutMs, pause } from "./client-transport.ts";

/** In a row, without a byte between them. */
const maxCuts = 5;
/** Of a blob that still lacks so much, several ranges are asked for at once. */
export const rangedBytes: number = 48 * 1024 * 1024;
/** One range; so much of each is in memory until its turn comes. */
const rangeBytes = 4 * 1024 * 1024;
/** Ranges at once, of all blobs of one pull, beside the one connection that each blob has. */
const maxSpareConnections = 5;

/** Connections that a pull may open beside one for each blob. */
export class SpareConnections {
  #free = maxSpareConnections;

  /** Whether one was free; it is given back by `give`. */
  take(): boolean {
    if (this.#free === 0) return false;
    this.#free--;
    return true;
  }

  give(): void {
    this.#free++;
  }
}

interface BlobReading {
  readonly fromBytes: number;
  readonly signal: AbortSignal | undefined;
  readonly connections: SpareConnections;
  /** Asks for `from-` or `from-to`, or for the whole. */
  readonly open: (range: string | undefined, signal: AbortSignal | undefined) => Promise<Response>;
}

/** Reads a blob over as many connections as it takes, each going on where the last one stopped. */
export function readBlob(
  descriptor: Descriptor,
  { open, signal }: { open: (offsetBytes: number) => Promise<Response>; signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  const openAt = (range: string | undefined): Promise<Response> => open(Number.parseInt(range ?? "0", 10));
  return readSpan(descriptor, { fromBytes: 0, toBytes: descriptor.size, open: openAt, signal });
}

/** As `readBlob`, from a place on, and what is large over several connections at once. */
export async function* readLargeBlob(descriptor: Descriptor, reading: BlobReading): AsyncGenerator<Uint8Array> {
  const { size } = descriptor;
  let at = reading.fromBytes;
  if (size - at >= rangedBytes) {
    const ranges = readRanges(descriptor, reading);
    for await (const chunk of ranges) {
      at += chunk.length;
      yield chunk;
    }
    if (at >= size) return;
  }
  yield* readSpan(descriptor, { ...reading, fromBytes: at, toBytes: size });
}

/** From one byte to before another, one connection after another. An answer that goes on beyond it is for the caller to refuse. */
async function* readSpan(
  { digest, size }: Descriptor,
  { fromBytes, toBytes, open, signal }: Omit<BlobReading, "connections"> & { toBytes: number },
): AsyncGenerator<Uint8Array> {
  let at = fromBytes;
  for (let cuts = 0; at < toBytes || toBytes === 0;) {
    const isWhole = toBytes === size;
    const range = isWhole ? (at > 0 ? `${at}-` : undefined) : `${at}-${toBytes - 1}`;
    const response = await open(range, signal);
    // A registry that knows no ranges sends all of it again.
    let skipBytes = response.status === 206 ? 0 : at;
    requireRange(response, { at, digest });
    let cause: unknown;
    try {
      for await (const chunk of bodyOf(response, signal)) {
        const fresh = skipBytes > 0 ? chunk.subarray(skipBytes) : chunk;
        skipBytes = Math.max(0, skipBytes - chunk.length);
        if (fresh.length === 0) continue;
        at += fresh.length;
        cuts = 0;
        yield fresh;
        if (!isWhole && at >= toBytes) break;
      }
    } catch (error) {
      signal?.throwIfAborted();
      cause = error;
    }
    if (at >= toBytes) return;
    if (++cuts > maxCuts) {
      throw new EngineError(
        "unavailable",
        `The download of "${digest}" ended after ${at} of ${size} bytes, ${cuts} times: unexpected EOF`,
        { cause },
      );
    }
    await pause(backOffMs(cuts), signal);
  }
}

/** In order, the next ones coming meanwhile; ends early where the registry knows no ranges. */
async function* readRanges(descriptor: Descriptor, reading: BlobReading): AsyncGenerator<Uint8Array> {
  const { size } = descriptor;
  const { connections } = reading;
  const stop = new AbortController();
  const signal = reading.signal ? AbortSignal.any([reading.signal, stop.signal]) : stop.signal;
  const coming: Promise<Uint8Array[] | undefined>[] = [];
  let next = reading.fromBytes;
  const begin = (isSpare: boolean): void => {
    const fromBytes = next;
    next = Math.min(size, next + rangeBytes);
    const range = readRange(descriptor, { ...reading, signal, fromBytes, toBytes: next });
    const given = range.finally(() => {
      if (isSpare) connections.give();
    });
    given.catch(() => {});
    coming.push(given);
  };
  try {
    begin(false);
    // Before the first answer nobody knows whether the registry has ranges.
    for (let first = true; coming.length > 0; first = false) {
      if (!first) while (next < size && connections.take()) begin(true);
      const chunks = await coming.shift();
      if (!chunks) return;
      if (coming.length === 0 && next < size) begin(false);
      yield* chunks;
    }
  } finally {
    stop.abort(new EngineError("cancelled", "The download was given up"));
    await Promise.allSettled(coming);
  }
}

/** One range into memory; undefined where the answer is not that range. */
async function readRange(
  descriptor: Descriptor,
  reading: BlobReading & { toBytes: number },
): Promise<Uint8Array[] | undefined> {
  const { fromBytes, toBytes, open, signal } = reading;
  const known = await open(`${fromBytes}-${toBytes - 1}`, signal);
  if (known.status !== 206) {
    await known.body?.cancel();
    return undefined;
  }
  const chunks: Uint8Array[] = [];
  let opened: Response | undefined = known;
  const openOnce = async (range: string | undefined, ended: AbortSignal | undefined): Promise<Response> => {
    const response = opened ?? (await open(range, ended));
    opened = undefined;
    return response;
  };
  let length = 0;
  for await (const chunk of readSpan(descriptor, { ...reading, open: openOnce })) {
    length += chunk.length;
    if (length > toBytes - fromBytes) {
      throw new EngineError("unavailable", `The registry sends more of "${descriptor.digest}" than it was asked for`);
    }
    chunks.push(chunk);
  }
  return chunks;
}

function requireRange(response: Response, { at, digest }: { at: number; digest: string }): void {
  if (response.status !== 206) return;
  const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
  if (start === undefined || Number(start) === at) return;
  throw new EngineError(
    "unavailable",
    `The registry answers with byte ${start} of "${digest}" where ${at} was asked for`,
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
