import { UsageError } from "./usage-error.ts";

const defaultSequence = [0x10, 0x11];

/** `ctrl-p,ctrl-q` or single characters, comma-separated, as bytes; "" is ctrl-p ctrl-q. Throws UsageError. */
export function parseDetachKeys(text: string): readonly number[] {
  if (text === "") return defaultSequence;
  return text.split(",").map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
    if (control === undefined) throw new UsageError(`invalid detach keys (${text}): Unknown character: '${key}'`);
    return control.toLowerCase().charCodeAt(0) & 0x1f;
  });
}

/** Watches typed bytes for the sequence. What begins it is held back until it is whole or broken. */
export class DetachWatcher {
  readonly #sequence: readonly number[];
  #matched = 0;

  constructor(sequence: readonly number[]) {
    this.#sequence = sequence;
  }

  /** The bytes to pass on, and whether the sequence is whole now. */
  take(input: Uint8Array): { pass: Uint8Array; detached: boolean } {
    const pass: number[] = [];
    for (const byte of input) {
      if (byte === this.#sequence[this.#matched]) {
        this.#matched++;
        if (this.#matched === this.#sequence.length) return { pass: Uint8Array.from(pass), detached: true };
        continue;
      }
      pass.push(...this.#sequence.slice(0, this.#matched));
      this.#matched = byte === this.#sequence[0] ? 1 : 0;
      if (this.#matched === 0) pass.push(byte);
    }
    return { pass: Uint8Array.from(pass), detached: false };
  }
}
