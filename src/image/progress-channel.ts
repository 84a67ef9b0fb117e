import type { ProgressMessage } from "../spec/index.ts";

const minIntervalMs = 100;

/** Messages on their way to one client. A slow one loses intermediate figures and no statement. */
export class ProgressChannel implements AsyncIterable<ProgressMessage> {
  #waiting: ProgressMessage[] = [];
  #ended: { error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  push(message: ProgressMessage): void {
    if (isFigure(message)) {
      const at = this.#waiting.findLastIndex(({ id }) => id === message.id);
      const before = this.#waiting[at];
      if (before && isFigure(before) && before.status === message.status) this.#waiting[at] = message;
      else this.#waiting.push(message);
    } else {
      this.#waiting.push(message);
    }
    this.#wake?.();
  }

  end(): void {
    this.#ended ??= {};
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#ended ??= { error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ProgressMessage> {
    for (;;) {
      const messages = this.#waiting;
      this.#waiting = [];
      yield* messages;
      if (this.#waiting.length > 0) continue;
      if (this.#ended) {
        if ("error" in this.#ended) throw this.#ended.error;
        return;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }
}

function isFigure(message: ProgressMessage): boolean {
  return (message.progressDetail?.total ?? 0) > 0;
}

/** Tells figures a few times a second at the most. */
export function figureTeller(
  total: number,
  tell: (figures: { current: number; total: number }) => void,
): (current: number) => void {
  let toldAt = 0;
  return (current) => {
    if (Date.now() - toldAt < minIntervalMs) return;
    toldAt = Date.now();
    tell({ current, total });
  };
}

/** Passes a stream through and tells how far it is, a few times a second. */
export async function* withFigures(
  source: AsyncIterable<Uint8Array>,
  { total, tell }: { total: number; tell: (figures: { current: number; total: number }) => void },
): AsyncGenerator<Uint8Array> {
  const tellFigures = figureTeller(total, tell);
  let current = 0;
  for await (const chunk of source) {
    current += chunk.length;
    tellFigures(current);
    yield chunk;
  }
}
