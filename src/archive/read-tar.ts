import type { TarHeader } from "./tar-header.ts";
import { TarParser, type TarLimits } from "./tar-parser.ts";

/** One file of an archive. The body is consumed in order, or skipped by asking for the next entry. */
export interface TarEntry {
  readonly header: TarHeader;
  readonly body: AsyncIterable<Uint8Array>;
}

type Event =
  | { readonly kind: "entry"; readonly header: TarHeader }
  | { readonly kind: "data"; readonly bytes: Uint8Array; readonly offset: number }
  | { readonly kind: "end" };

const zeros = new Uint8Array(64 * 1024);

/** The next event, with chunks read as needed; undefined at the archive's end. */
class EventReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #parser: TarParser;
  #events: Event[] = [];
  #next = 0;
  #ended = false;

  constructor(source: AsyncIterable<Uint8Array>, limits: Partial<TarLimits>) {
    this.#source = source[Symbol.asyncIterator]();
    this.#parser = new TarParser(
      {
        entry: (header) => this.#events.push({ kind: "entry", header }),
        data: (bytes, offset) => this.#events.push({ kind: "data", bytes, offset }),
        end: () => this.#events.push({ kind: "end" }),
      },
      limits,
    );
  }

  async next(): Promise<Event | undefined> {
    while (this.#next >= this.#events.length) {
      if (this.#ended) return undefined;
      this.#events = [];
      this.#next = 0;
      const { done, value } = await this.#source.next();
      if (done === true) {
        this.#ended = true;
        this.#parser.finish();
      } else this.#parser.push(value);
    }
    return this.#events[this.#next++];
  }

  async close(): Promise<void> {
    if (!this.#ended) await this.#source.return?.();
  }
}

/**
 * Reads a tar stream: ustar, pax, GNU long names, sparse files (as what they read as: holes are zeros). Everything up to the
 * source's end is consumed, so that a digest of the source is whole. Throws `invalidArgument` for a stream that is truncated,
 * damaged or beyond the limits.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  limits: Partial<TarLimits> = {},
): AsyncGenerator<TarEntry> {
  const events = new EventReader(source, limits);
  try {
    let open = false;
    const closed = async (): Promise<void> => {
      while (open) {
        const event = await events.next();
        if (!event || event.kind === "end") open = false;
      }
    };
    for (;;) {
      await closed();
      const event = await events.next();
      if (!event) return;
      if (event.kind !== "entry") continue;
      open = true;
      const { header } = event;
      yield { header, body: readBody() };

      async function* readBody(): AsyncGenerator<Uint8Array> {
        let position = 0;
        while (open) {
          const part = await events.next();
          if (part?.kind === "data") {
            yield* fillHole(position, part.offset);
            yield part.bytes;
            position = part.offset + part.bytes.length;
          } else {
            open = false;
            yield* fillHole(position, header.size);
          }
        }
      }
    }
  } finally {
    await events.close();
  }
}

function* fillHole(from: number, to: number): Generator<Uint8Array> {
  for (let left = to - from; left > 0; left -= zeros.length)
    yield left < zeros.length ? zeros.subarray(0, left) : zeros;
}
