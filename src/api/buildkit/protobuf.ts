// The wire form of protocol buffers (protobuf.dev/programming-guides/encoding), for the messages that BuildKit's services use.
import { EngineError } from "../../common/index.ts";

/** One field of a message: its number, what an absent one reads as, and how its value is written and read. */
export interface Field<Value> {
  readonly number: number;
  readonly absent: () => Value;
  readonly write: (writer: Writer, value: Value) => void;
  /** Gets what was read so far, since repeated fields and maps grow. */
  readonly read: (reader: Reader, wireType: number, sofar: Value) => Value;
}

type FieldsOf<Value> = { readonly [Name in keyof Value]: Field<Value[Name]> };

/**
 * A message type. `of` fills in what is absent; `decode` skips fields that it does not know and throws invalidArgument for bytes
 * that are no message.
 */
export interface Message<Value> {
  of(value: Partial<Value>): Value;
  encode(value: Partial<Value>): Uint8Array;
  decode(bytes: Uint8Array): Value;
}

/** The values that a message type carries. */
export type ValueOf<Type> = Type extends Message<infer Value> ? Value : never;

const varintType = 0;
const fixed64Type = 1;
const lengthType = 2;
const fixed32Type = 5;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function malformed(why: string): EngineError {
  return new EngineError("invalidArgument", `Malformed protobuf message: ${why}`);
}

class Writer {
  #bytes = new Uint8Array(128);
  #length = 0;

  result(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  tag(number: number, wireType: number): void {
    this.varint(number * 8 + wireType);
  }

  varint(value: number): void {
    if (value < 0 || value > Number.MAX_SAFE_INTEGER) {
      this.bigVarint(BigInt(value));
      return;
    }
    this.#room(10);
    let rest = value;
    while (rest > 127) {
      this.#bytes[this.#length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#length++] = rest;
  }

  bigVarint(value: bigint): void {
    this.#room(10);
    let rest = BigInt.asUintN(64, value);
    while (rest > 127n) {
      this.#bytes[this.#length++] = Number(rest & 127n) | 128;
      rest >>= 7n;
    }
    this.#bytes[this.#length++] = Number(rest);
  }

  lengthDelimited(number: number, bytes: Uint8Array): void {
    this.tag(number, lengthType);
    this.varint(bytes.length);
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #room(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    larger.set(this.result());
    this.#bytes = larger;
  }
}

class Reader {
  #at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get atEnd(): boolean {
    return this.#at >= this.bytes.length;
  }

  /** A 64-bit value as a number: exact up to 2^53, negative ones as two's complement has them. */
  varint(): number {
    let value = 0;
    let factor = 1;
    const start = this.#at;
    for (let count = 0; count < 10; count += 1) {
      const byte = this.bytes[this.#at++];
      if (byte === undefined) throw malformed("it ends inside a number");
      if (count === 9) {
        this.#at = start;
        return Number(BigInt.asIntN(64, this.bigVarint()));
      }
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
    throw malformed("a number has more than ten bytes");
  }

  bigVarint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.bytes[this.#at++];
      if (byte === undefined) throw malformed("it ends inside a number");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw malformed("a number has more than ten bytes");
  }

  lengthDelimited(wireType: number): Uint8Array {
    if (wireType !== lengthType) throw malformed(`a field has wire type ${wireType} where it has a length`);
    const length = this.varint();
    if (length < 0 || this.#at + length > this.bytes.length) throw malformed("a field is longer than its message");
    const part = this.bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return part;
  }

  skip(wireType: number): void {
    if (wireType === varintType) this.bigVarint();
    else if (wireType === lengthType) this.lengthDelimited(wireType);
    else if (wireType === fixed64Type) this.#at += 8;
    else if (wireType === fixed32Type) this.#at += 4;
    else throw malformed(`wire type ${wireType} is not known`);
    if (this.#at > this.bytes.length) throw malformed("it ends inside a field");
  }
}

/** Builds a message type from its fields; the value's type follows from them. */
export function message<Value>(fields: FieldsOf<Value>): Message<Value> {
  const entries = Object.entries(fields as unknown as Readonly<Record<string, Field<unknown>>>);
  const byNumber = new Map(entries.map(([name, field]) => [field.number, { name, field }]));
  const empty = (): Record<string, unknown> =>
    Object.fromEntries(entries.map(([name, field]) => [name, field.absent()]));
  return {
    of: (value) => ({ ...empty(), ...value }) as Value,
    encode(value) {
      const writer = new Writer();
      for (const [name, field] of entries) {
        const one = (value as Record<string, unknown>)[name];
        if (one !== undefined) field.write(writer, one);
      }
      return writer.result();
    },
    decode(bytes) {
      const value = empty();
      const reader = new Reader(bytes);
      while (!reader.atEnd) {
        const tag = reader.varint();
        const known = byNumber.get(Math.floor(tag / 8));
        if (known) value[known.name] = known.field.read(reader, tag % 8, value[known.name]);
        else reader.skip(tag % 8);
      }
      return value as Value;
    },
  };
}

function expectVarint(wireType: number): void {
  if (wireType !== varintType) throw malformed(`a field has wire type ${wireType} where it is a number`);
}

/** int32, int64, uint32 and enumerations whose values are below 2^53. */
export function integer(number: number): Field<number> {
  return {
    number,
    absent: () => 0,
    write(writer, value) {
      if (value === 0) return;
      writer.tag(number, varintType);
      writer.varint(value);
    },
    read(reader, wireType) {
      expectVarint(wireType);
      return reader.varint();
    },
  };
}

/** int64 in full: nanoseconds since 1970. */
export function bigInteger(number: number): Field<bigint> {
  return {
    number,
    absent: () => 0n,
    write(writer, value) {
      if (value === 0n) return;
      writer.tag(number, varintType);
      writer.bigVarint(value);
    },
    read(reader, wireType) {
      expectVarint(wireType);
      return BigInt.asIntN(64, reader.bigVarint());
    },
  };
}

export function flag(number: number): Field<boolean> {
  return {
    number,
    absent: () => false,
    write(writer, value) {
      if (!value) return;
      writer.tag(number, varintType);
      writer.varint(1);
    },
    read(reader, wireType) {
      expectVarint(wireType);
      return reader.varint() !== 0;
    },
  };
}

export function text(number: number): Field<string> {
  return {
    number,
    absent: () => "",
    write(writer, value) {
      if (value !== "") writer.lengthDelimited(number, encoder.encode(value));
    },
    read: (reader, wireType) => decoder.decode(reader.lengthDelimited(wireType)),
  };
}

const noBytes = new Uint8Array(0);

/** A part of the message that was decoded: copy it to keep it longer than that. */
export function bytes(number: number): Field<Uint8Array> {
  return {
    number,
    absent: () => noBytes,
    write(writer, value) {
      if (value.length > 0) writer.lengthDelimited(number, value);
    },
    read: (reader, wireType) => reader.lengthDelimited(wireType),
  };
}

export function one<Value>(number: number, type: Message<Value>): Field<Value | undefined> {
  return {
    number,
    absent: () => undefined,
    write(writer, value) {
      if (value !== undefined) writer.lengthDelimited(number, type.encode(value));
    },
    read: (reader, wireType) => type.decode(reader.lengthDelimited(wireType)),
  };
}

export function many<Value>(number: number, type: Message<Value>): Field<readonly Value[]> {
  return repeated(number, { encode: (value) => type.encode(value), decode: (part) => type.decode(part) });
}

export function manyTexts(number: number): Field<readonly string[]> {
  return repeated(number, { encode: (value) => encoder.encode(value), decode: (part) => decoder.decode(part) });
}

export function manyBytes(number: number): Field<readonly Uint8Array[]> {
  return repeated(number, { encode: (value) => value, decode: (part) => part });
}

function repeated<Value>(
  number: number,
  element: { encode(value: Value): Uint8Array; decode(part: Uint8Array): Value },
): Field<readonly Value[]> {
  return {
    number,
    absent: () => [],
    write(writer, values) {
      for (const value of values) writer.lengthDelimited(number, element.encode(value));
    },
    read(reader, wireType, sofar) {
      (sofar as Value[]).push(element.decode(reader.lengthDelimited(wireType)));
      return sofar;
    },
  };
}

/** `map<string, …>`, as a Map since a key may be `__proto__`. */
export function mapOf<Value>(
  number: number,
  value: (number: number) => Field<Value>,
): Field<ReadonlyMap<string, Value>> {
  const entry = message<{ key: string; value: Value }>({ key: text(1), value: value(2) });
  return {
    number,
    absent: () => new Map(),
    write(writer, values) {
      for (const [key, one] of values) writer.lengthDelimited(number, entry.encode({ key, value: one }));
    },
    read(reader, wireType, sofar) {
      const pair = entry.decode(reader.lengthDelimited(wireType));
      (sofar as Map<string, Value>).set(pair.key, pair.value);
      return sofar;
    },
  };
}
