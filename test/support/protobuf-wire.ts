// Protocol buffers by hand, for peers: a message is a list of [field number, value]. Knows nothing of any message's type.

export type WireValue = string | number | bigint | boolean | Uint8Array | WireMessage;
export type WireMessage = readonly (readonly [number: number, value: WireValue])[];

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return bytes;
}

export function toWire(message: WireMessage): Buffer {
  return Buffer.concat(
    message.map(([number, value]) => {
      if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
        return Buffer.from([...varint(BigInt(number) << 3n), ...varint(BigInt(value))]);
      }
      const bytes =
        typeof value === "string"
          ? Buffer.from(value)
          : value instanceof Uint8Array
            ? Buffer.from(value)
            : toWire(value);
      return Buffer.concat([
        Buffer.from([...varint((BigInt(number) << 3n) | 2n), ...varint(BigInt(bytes.length))]),
        bytes,
      ]);
    }),
  );
}

/** `map<string, string>` as its entries. */
export function wireMap(number: number, entries: Readonly<Record<string, string>>): WireMessage {
  return Object.entries(entries).map(([key, value]) => [
    number,
    [
      [1, key],
      [2, value],
    ],
  ]);
}

/** What came, by field number: numbers as bigint, everything else as bytes. */
export class WireReader {
  readonly #fields = new Map<number, (bigint | Buffer)[]>();

  constructor(bytes: Uint8Array) {
    const buffer = Buffer.from(bytes);
    let at = 0;
    const number = (): bigint => {
      let value = 0n;
      for (let shift = 0n; ; shift += 7n) {
        const byte = buffer[at++];
        if (byte === undefined) throw new Error("The message ends inside a number");
        value |= BigInt(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
    };
    while (at < buffer.length) {
      const tag = number();
      const type = Number(tag & 7n);
      if (type !== 0 && type !== 2) throw new Error(`Wire type ${type} is in none of these messages`);
      const first = number();
      const value = type === 0 ? first : buffer.subarray(at, at + Number(first));
      if (type === 2) at += Number(first);
      const key = Number(tag >> 3n);
      this.#fields.set(key, [...(this.#fields.get(key) ?? []), value]);
    }
  }

  all(number: number): Buffer[] {
    return (this.#fields.get(number) ?? []).map((value) => value as Buffer);
  }
  bytes(number: number): Buffer | undefined {
    return this.all(number).at(-1);
  }
  text(number: number): string {
    return this.bytes(number)?.toString("utf8") ?? "";
  }
  texts(number: number): string[] {
    return this.all(number).map((value) => value.toString("utf8"));
  }
  integer(number: number): number {
    return Number((this.#fields.get(number)?.at(-1) as bigint | undefined) ?? 0n);
  }
  message(number: number): WireReader | undefined {
    const bytes = this.bytes(number);
    return bytes && new WireReader(bytes);
  }
  messages(number: number): WireReader[] {
    return this.all(number).map((bytes) => new WireReader(bytes));
  }
  map(number: number): Record<string, string> {
    return Object.fromEntries(this.messages(number).map((entry) => [entry.text(1), entry.text(2)]));
  }
}
