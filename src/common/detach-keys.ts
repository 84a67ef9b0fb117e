import { EngineError } from "./errors.ts";

const defaultKeys = [0x10, 0x11];

/**
 * `ctrl-p,ctrl-q` or single characters, comma-separated, as bytes; nothing, or "", is ctrl-p ctrl-q. Throws invalidArgument in the
 * engine's words, with the key that is none in `data.key`.
 */
export function parseDetachKeys(text = ""): readonly number[] {
  if (text === "") return defaultKeys;
  return text.split(",").map((key) => {
    if (key.length === 1 && key.charCodeAt(0) < 0x80) return key.charCodeAt(0);
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
    if (control === undefined)
      throw new EngineError("invalidArgument", `Invalid detach keys (${text}) provided`, { data: { key } });
    return control.toLowerCase().charCodeAt(0) & 0x1f;
  });
}

/** Watches a terminal's input for the keys that leave it. What begins them is held back until they are whole or broken. */
export class DetachWatcher {
  #matched = 0;

  constructor(private readonly keys: readonly number[]) {}

  /** The bytes to pass on, and whether the client wants to leave; what follows the keys is nobody's. */
  take(input: Uint8Array): { readonly pass: Uint8Array; readonly detached: boolean } {
    const pass: number[] = [];
    for (const byte of input) {
      if (byte === this.keys[this.#matched]) {
        this.#matched++;
        if (this.#matched === this.keys.length) return { pass: Uint8Array.from(pass), detached: true };
        continue;
      }
      pass.push(...this.keys.slice(0, this.#matched));
      this.#matched = byte === this.keys[0] ? 1 : 0;
      if (this.#matched === 0) pass.push(byte);
    }
    return { pass: Uint8Array.from(pass), detached: false };
  }
}
