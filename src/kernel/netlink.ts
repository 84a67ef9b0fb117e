// Netlink messages over sockets of our own: netlink(7), include/uapi/linux/netlink.h. The kernel answers inside send(2), so nothing blocks.
import { errnoNumber } from "./errno.ts";
import { SystemError, check, errno, libc, ptr } from "./libc.ts";
import { family, growReceiveBuffer, openSocket, socketType } from "./sockets.ts";

export const netlinkProtocol = { route: 0, netfilter: 12 } as const;
export const netlinkFlag = {
  request: 1,
  acknowledge: 4,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
};

const messageError = 2;
const messageDone = 3;
const headerBytes = 16;
const solNetlink = 270;
const netlinkExtendedAck = 11;
const netlinkGetStrictCheck = 12;
const attributeMessage = 1;
const flagCapped = 0x100;
const flagExtended = 0x200;
const nested = 0x8000;
const attributeTypeMask = 0x3fff;
const msgDontWait = 0x40;
const receiveBytes = 256 * 1024;
const flagDumpInterrupted = 0x10;
const dumpAttempts = 8;

/** One message without its header: a type, flags (see `netlinkFlag`), and the family's fixed header with its attributes. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  /** For errors: what this message asks, as the sentence `Cannot …`. */
  readonly what: string;
}

export interface NetlinkReply {
  readonly type: number;
  readonly payload: Buffer;
}

/** One attribute (`struct nlattr`), padded to four bytes. */
export function attribute(type: number, value: Uint8Array): Buffer {
  const length = 4 + value.length;
  const bytes = Buffer.alloc((length + 3) & ~3);
  bytes.writeUInt16LE(length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, 4);
  return bytes;
}

export function nest(type: number, ...attributes: readonly Uint8Array[]): Buffer {
  return attribute(type | nested, Buffer.concat(attributes));
}
export function u8(value: number): Buffer {
  return Buffer.from([value]);
}
/** A 32-bit number in the machine's order, as rtnetlink has them. */
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
export function u16be(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}
/** A 32-bit number in network order, as netfilter has them; negative ones (verdicts, priorities) in two's complement. */
export function u32be(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`, "utf8");
}

/** The attributes of one level by type; of a repeated type the last. Malformed bytes end the list. */
export function readAttributes(bytes: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (const [type, value] of eachAttribute(bytes)) attributes.set(type, value);
  return attributes;
}

/** The attributes of one level in order: for lists, whose elements share one type. */
export function* eachAttribute(bytes: Buffer): Generator<[type: number, value: Buffer]> {
  for (let offset = 0; offset + 4 <= bytes.length;) {
    const length = bytes.readUInt16LE(offset);
    if (length < 4 || offset + length > bytes.length) return;
    yield [bytes.readUInt16LE(offset + 2) & attributeTypeMask, bytes.subarray(offset + 4, offset + length)];
    offset += (length + 3) & ~3;
  }
}

/** The string of an attribute, without its NUL. */
export function readText(value: Buffer | undefined): string {
  const content = (value ?? Buffer.alloc(0)).toString("utf8");
  const end = content.indexOf("\0");
  return end < 0 ? content : content.slice(0, end);
}

/**
 * One netlink socket. `request` sends messages in one go and waits for each one's acknowledgement; `dump` reads a listing.
 * It belongs to the namespace in which its descriptor was born, wherever it is used. Dispose it to close the descriptor.
 */
export class NetlinkSocket implements Disposable {
  #sequence = 1;
  #closed = false;
  readonly #buffer = Buffer.allocUnsafeSlow(receiveBytes);

  /** Adopts a netlink socket, for example one that was born in another network namespace. */
  constructor(readonly descriptor: number) {
    // Old kernels lack these; then errors have fewer words, and filters are applied here.
    for (const name of [netlinkExtendedAck, netlinkGetStrictCheck]) {
      const one = Int32Array.of(1);
      libc.setsockopt(descriptor, solNetlink, name, ptr(one), 4);
    }
    growReceiveBuffer(descriptor, 1 << 20);
  }

  /** A socket of the current network namespace. `protocol` is of `netlinkProtocol`. */
  static open(protocol: number): NetlinkSocket {
    return new NetlinkSocket(openSocket(family.netlink, socketType.raw, protocol));
  }

  /** Sends all messages at once and returns what the kernel answered besides acknowledgements. Throws a SystemError for the first that was refused. */
  request(messages: readonly NetlinkMessage[]): NetlinkReply[] {
    const first = this.#sequence;
    this.#send(messages.map((message) => ({ ...message, flags: message.flags | netlinkFlag.request })));
    const replies: NetlinkReply[] = [];
    const failures = new Map<number, { errno: number; detail: string }>();
    let acknowledged = 0;
    for (let chunk = this.#receive(); chunk; chunk = this.#receive()) {
      for (const { sequence, ...reply } of splitMessages(chunk)) {
        if (sequence < first) continue;
        if (reply.type !== messageError) replies.push({ type: reply.type, payload: Buffer.from(reply.payload) });
        else if (reply.payload.readInt32LE(0) !== 0) failures.set(sequence - first, readError(reply));
        else acknowledged++;
      }
    }
    this.#throwFirst(messages, failures);
    const awaited = messages.filter((message) => message.flags & netlinkFlag.acknowledge).length;
    if (acknowledged >= awaited) return replies;
    const what = `${messages[0]?.what}: the kernel left ${awaited - acknowledged} of ${awaited} requests unanswered`;
    throw new SystemError("recv", errnoNumber("ENOBUFS"), what);
  }

  /** All objects that the message (a GET with a family's header) lists. Starts over when the kernel says that the listing changed meanwhile. */
  dump(message: Omit<NetlinkMessage, "flags">): NetlinkReply[] {
    for (let attempt = 1; ; attempt++) {
      const { replies, interrupted } = this.#dumpOnce(message);
      if (!interrupted || attempt === dumpAttempts) return replies;
    }
  }

  #dumpOnce(message: Omit<NetlinkMessage, "flags">): { replies: NetlinkReply[]; interrupted: boolean } {
    const first = this.#sequence;
    this.#send([{ ...message, flags: netlinkFlag.request | netlinkFlag.dump }]);
    const replies: NetlinkReply[] = [];
    let interrupted = false;
    for (let chunk = this.#receive(); chunk; chunk = this.#receive()) {
      for (const { sequence, ...reply } of splitMessages(chunk)) {
        if (sequence < first) continue;
        if (reply.flags & flagDumpInterrupted) interrupted = true;
        if (reply.type === messageDone) return { replies, interrupted };
        if (reply.type === messageError) this.#throwFirst([message], new Map([[0, readError(reply)]]));
        replies.push({ type: reply.type, payload: Buffer.from(reply.payload) });
      }
    }
    throw new SystemError("recvmsg", errnoNumber("EAGAIN"), `${message.what}: the kernel's list has no end`);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    libc.close(this.descriptor);
  }

  #throwFirst(messages: readonly { what: string }[], failures: Map<number, { errno: number; detail: string }>): void {
    const index = Math.min(...failures.keys());
    const failure = failures.get(index);
    if (!failure) return;
    const { what } = messages[index] ?? { what: "Cannot complete a netlink request" };
    throw new SystemError("netlink", failure.errno, failure.detail ? `${what} (${failure.detail})` : what);
  }

  #send(messages: readonly NetlinkMessage[]): void {
    const parts: Buffer[] = [];
    for (const message of messages) {
      const length = headerBytes + message.payload.length;
      const bytes = Buffer.alloc((length + 3) & ~3);
      bytes.writeUInt32LE(length, 0);
      bytes.writeUInt16LE(message.type, 4);
      bytes.writeUInt16LE(message.flags, 6);
      bytes.writeUInt32LE(this.#sequence++, 8);
      bytes.set(message.payload, headerBytes);
      parts.push(bytes);
    }
    const all = Buffer.concat(parts);
    check("send", libc.send(this.descriptor, ptr(all), all.length, msgDontWait), () => {
      return messages[0]?.what ?? "Cannot send a netlink message";
    });
  }

  #receive(): Buffer | undefined {
    const received = Number(libc.recv(this.descriptor, ptr(this.#buffer), this.#buffer.length, msgDontWait));
    if (received >= 0) return this.#buffer.subarray(0, received);
    const number = errno();
    if (number === errnoNumber("EAGAIN")) return undefined;
    throw new SystemError("recv", number, "Cannot read a netlink answer");
  }
}

function* splitMessages(chunk: Buffer): Generator<NetlinkReply & { sequence: number; flags: number }> {
  for (let offset = 0; offset + headerBytes <= chunk.length;) {
    const length = chunk.readUInt32LE(offset);
    if (length < headerBytes || offset + length > chunk.length) return;
    yield {
      type: chunk.readUInt16LE(offset + 4),
      flags: chunk.readUInt16LE(offset + 6),
      sequence: chunk.readUInt32LE(offset + 8),
      payload: chunk.subarray(offset + headerBytes, offset + length),
    };
    offset += (length + 3) & ~3;
  }
}

/** `struct nlmsgerr`, and the kernel's own sentence where it sent one (NETLINK_EXT_ACK). */
function readError(reply: NetlinkReply & { flags?: number }): { errno: number; detail: string } {
  const failure = { errno: -reply.payload.readInt32LE(0), detail: "" };
  const flags = reply.flags ?? 0;
  if (!(flags & flagExtended)) return failure;
  const echoed = flags & flagCapped ? headerBytes : (reply.payload.readUInt32LE(4) + 3) & ~3;
  failure.detail = readText(readAttributes(reply.payload.subarray(4 + echoed)).get(attributeMessage));
  return failure;
}

/** The netlink flag bits that make a "create, or fail when it exists" request that is acknowledged. */
export const createExclusive = netlinkFlag.acknowledge | netlinkFlag.create | netlinkFlag.exclusive;
