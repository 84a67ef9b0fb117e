// Sockets that Bun has no call for: reserved ports, socket pairs, descriptors sent with SCM_RIGHTS. Nothing here blocks.
import { isIPv4, isIPv6 } from "node:net";
import { EngineError } from "../common/index.ts";
import { errnoNumber } from "./errno.ts";
import { SystemError, check, errno, libc, ptr } from "./libc.ts";

export const family = { unix: 1, ipv4: 2, ipv6: 10, netlink: 16 } as const;
export const socketType = { stream: 1, datagram: 2, raw: 3, seqpacket: 5 } as const;

const closeOnExec = 0o2000000;
const nonBlocking = 0o4000;
const solSocket = 1;
const soReuseAddress = 2;
const soReceiveBufferForce = 33;
const soAttachFilter = 26;
const ipprotoIpv6 = 41;
const ipv6Only = 26;
const scmRights = 1;
const msgDontWait = 0x40;
const msgNoSignal = 0x4000;
const msgCmsgCloseOnExec = 0x40000000;
const msgControlTruncated = 0x8;

/** At most this many descriptors pass in one message (the kernel's SCM_MAX_FD is 253). */
export const maxDescriptorsPerMessage = 64;
const controlHeaderBytes = 16;
const maxMessageBytes = 64 * 1024;

/** Closes a descriptor that one of these functions returned. A second close is a mistake of the caller's and throws. */
export function closeDescriptor(descriptor: number): void {
  check("close", libc.close(descriptor), () => `Cannot close descriptor ${descriptor}`);
}

/** A connected pair of unix sockets, close-on-exec and blocking (socketpair(2)). Close both yourself. */
export function socketPair(type: "stream" | "seqpacket" | "datagram"): [number, number] {
  const pair = new Int32Array(2);
  check("socketpair", libc.socketpair(family.unix, socketType[type] | closeOnExec, 0, ptr(pair)), () => {
    return `Cannot make a ${type} socket pair`;
  });
  return [pair[0] ?? -1, pair[1] ?? -1];
}

/** A close-on-exec, non-blocking socket (socket(2)). */
export function openSocket(domain: number, type: number, protocol = 0): number {
  const flags = type | closeOnExec | nonBlocking;
  return check("socket", libc.socket(domain, flags, protocol), () => `Cannot make a socket of family ${domain}`);
}

/** A connected, close-on-exec, non-blocking stream socket to the listener at `path` (unix(7)). Throws notFound, or ECONNREFUSED as SystemError. */
export function connectUnix(path: string): number {
  const address = unixAddress(path);
  const descriptor = openSocket(family.unix, socketType.stream);
  return closingOnFailure(descriptor, () => {
    const result = libc.connect(descriptor, ptr(address), address.length);
    check("connect", result, () => `Cannot connect to "${path}"`);
  });
}

function unixAddress(path: string): Uint8Array {
  const bytes = Buffer.from(path, "utf8");
  if (bytes.length > 107 || bytes.length === 0 || bytes.includes(0)) {
    throw new EngineError("invalidArgument", `socket path "${path}" must have 1 to 107 bytes and no NUL`);
  }
  const address = Buffer.alloc(2 + bytes.length + 1);
  address.writeUInt16LE(family.unix, 0);
  bytes.copy(address, 2);
  return address;
}

/** `struct sockaddr_in` or `sockaddr_in6` for a numeric address (ip(7), ipv6(7)). */
export function internetAddress(address: string, port: number): Buffer {
  if (isIPv4(address)) {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt16LE(family.ipv4, 0);
    bytes.writeUInt16BE(port, 2);
    bytes.set(address.split(".").map(Number), 4);
    return bytes;
  }
  if (!isIPv6(address) || address.includes("%")) {
    throw new EngineError("invalidArgument", `"${address}" is not a numeric IP address`);
  }
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(family.ipv6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipv6Bytes(address), 8);
  return bytes;
}

/** The 16 bytes of a valid IPv6 address; a dotted tail (`::ffff:1.2.3.4`) is understood. */
export function ipv6Bytes(address: string): Uint8Array {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const [, prefix = "", a, b, c, d] = dotted ?? [];
  const word = (high: string | undefined, low: string | undefined) => (Number(high) * 256 + Number(low)).toString(16);
  const text = dotted ? `${prefix}${word(a, b)}:${word(c, d)}` : address;
  const [head = "", tail] = text.split("::");
  const words = (part: string) => (part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  const first = words(head);
  const last = tail === undefined ? [] : words(tail);
  const all = [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 255]));
}

/**
 * A bound socket that never listens: as long as it is open, nobody else gets this port. Port 0 takes a free one (see `boundPort`).
 * Throws a SystemError with EADDRINUSE when it is taken, EADDRNOTAVAIL when the host has no such address.
 */
export function bindReserved(address: string, port: number, protocol: "tcp" | "udp"): number {
  const bytes = internetAddress(address, port);
  const type = protocol === "tcp" ? socketType.stream : socketType.datagram;
  const descriptor = openSocket(bytes.readUInt16LE(0), type);
  return closingOnFailure(descriptor, () => {
    if (bytes.length === 28) setIntegerOption(descriptor, { level: ipprotoIpv6, name: ipv6Only, value: 1 });
    if (libc.bind(descriptor, ptr(bytes), bytes.length) === 0) return;
    const number = errno();
    const taken = number === errnoNumber("EADDRINUSE");
    if (taken && protocol === "tcp" && port !== 0 && reserveAmongClosed(descriptor, bytes)) return;
    throw new SystemError("bind", number, `Cannot bind ${formatEndpoint(address, port)}/${protocol}`);
  });
}

/**
 * Connections that a former server closed keep a port busy for a minute (TIME_WAIT). SO_REUSEADDR overlooks those, but
 * then only listening keeps others out: a filter that drops every packet lets it listen without ever answering.
 */
function reserveAmongClosed(descriptor: number, address: Uint8Array): boolean {
  setIntegerOption(descriptor, { level: solSocket, name: soReuseAddress, value: 1 });
  const dropEverything = Buffer.from([0x06, 0, 0, 0, 0, 0, 0, 0]);
  const program = Buffer.alloc(16);
  program.writeUInt16LE(1, 0);
  program.writeBigUInt64LE(BigInt(ptr(dropEverything)), 8);
  held.buffers = [dropEverything];
  check("setsockopt", libc.setsockopt(descriptor, solSocket, soAttachFilter, ptr(program), program.length), () => {
    return "Cannot attach a filter to a reserved port";
  });
  if (libc.bind(descriptor, ptr(address), address.length) !== 0) return false;
  return libc.listen(descriptor, 0) === 0;
}

/** A listening TCP socket, close-on-exec and non-blocking; an IPv6 one leaves IPv4 alone. Port 0 takes a free one. */
export function listenTcp(address: string, port: number, options: { backlog?: number } = {}): number {
  const bytes = internetAddress(address, port);
  const descriptor = openSocket(bytes.readUInt16LE(0), socketType.stream);
  return closingOnFailure(descriptor, () => {
    setIntegerOption(descriptor, { level: solSocket, name: soReuseAddress, value: 1 });
    if (bytes.length === 28) setIntegerOption(descriptor, { level: ipprotoIpv6, name: ipv6Only, value: 1 });
    const what = () => `Cannot listen on ${formatEndpoint(address, port)}`;
    check("bind", libc.bind(descriptor, ptr(bytes), bytes.length), what);
    check("listen", libc.listen(descriptor, options.backlog ?? 512), what);
  });
}

/** The local port of a bound internet socket (getsockname(2)). */
export function boundPort(descriptor: number): number {
  const address = Buffer.alloc(28);
  const length = Uint32Array.of(address.length);
  check("getsockname", libc.getsockname(descriptor, ptr(address), ptr(length)), () => {
    return `Cannot read the port of descriptor ${descriptor}`;
  });
  return address.readUInt16BE(2);
}

/** `1.2.3.4:80`, `[::1]:80`. */
export function formatEndpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** setsockopt(2) with an int. */
export function setIntegerOption(descriptor: number, option: { level: number; name: number; value: number }): void {
  const value = Int32Array.of(option.value);
  check("setsockopt", libc.setsockopt(descriptor, option.level, option.name, ptr(value), 4), () => {
    return `Cannot set socket option ${option.name} of level ${option.level}`;
  });
}

/** A receive buffer of `sizeBytes`, beyond rmem_max where CAP_NET_ADMIN allows; silently the default where not. */
export function growReceiveBuffer(descriptor: number, sizeBytes: number): void {
  const value = Int32Array.of(sizeBytes);
  libc.setsockopt(descriptor, solSocket, soReceiveBufferForce, ptr(value), 4);
}

/**
 * Sends `data` (at least one byte) with copies of `descriptors` as one message (unix(7), SCM_RIGHTS). Returns the bytes sent, which
 * on a stream can be fewer than given; the descriptors went with the first. Throws SystemError: EAGAIN when full, EPIPE.
 */
export function sendDescriptors(socket: number, data: Uint8Array, descriptors: readonly number[]): number {
  if (data.length === 0) throw new RangeError("A message that carries descriptors needs at least one byte");
  if (descriptors.length > maxDescriptorsPerMessage) {
    throw new RangeError(`${descriptors.length} descriptors do not fit one message of ${maxDescriptorsPerMessage}`);
  }
  const control = Buffer.alloc(controlSpace(descriptors.length));
  if (descriptors.length > 0) {
    control.writeBigUInt64LE(BigInt(controlHeaderBytes + 4 * descriptors.length), 0);
    control.writeInt32LE(solSocket, 8);
    control.writeInt32LE(scmRights, 12);
    descriptors.forEach((descriptor, index) => control.writeInt32LE(descriptor, controlHeaderBytes + 4 * index));
  }
  const header = messageHeader(data, control);
  return check("sendmsg", libc.sendmsg(socket, ptr(header), msgDontWait | msgNoSignal), () => {
    return `Cannot send ${data.length} bytes and ${descriptors.length} descriptors`;
  });
}

/** What one recvmsg(2) brought. No data means that the peer closed its end. Received descriptors are close-on-exec and yours to close. */
export interface ReceivedMessage {
  readonly data: Uint8Array;
  readonly descriptors: readonly number[];
}

/** Receives one message (at most 64 KiB on a stream) with its descriptors, or undefined when none is there yet. Throws SystemError. */
export function receiveDescriptor(socket: number): ReceivedMessage | undefined {
  const buffer = Buffer.allocUnsafeSlow(maxMessageBytes);
  const control = Buffer.alloc(controlSpace(maxDescriptorsPerMessage));
  const header = messageHeader(buffer, control);
  const received = Number(libc.recvmsg(socket, ptr(header), msgDontWait | msgCmsgCloseOnExec));
  if (received < 0) {
    const number = errno();
    if (number === errnoNumber("EAGAIN") || number === errnoNumber("EINTR")) return undefined;
    throw new SystemError("recvmsg", number, `Cannot receive from socket ${socket}`);
  }
  const descriptors = readDescriptors(control.subarray(0, Number(header.readBigUInt64LE(40))));
  if (header.readInt32LE(48) & msgControlTruncated) {
    for (const descriptor of descriptors) libc.close(descriptor);
    throw new EngineError("resourceExhausted", `A message carried more than ${maxDescriptorsPerMessage} descriptors`);
  }
  return { data: Buffer.from(buffer.subarray(0, received)), descriptors };
}

function readDescriptors(control: Buffer): number[] {
  const descriptors: number[] = [];
  for (let offset = 0; offset + controlHeaderBytes <= control.length;) {
    const length = Number(control.readBigUInt64LE(offset));
    if (length < controlHeaderBytes) break;
    if (control.readInt32LE(offset + 8) === solSocket && control.readInt32LE(offset + 12) === scmRights) {
      for (let at = offset + controlHeaderBytes; at + 4 <= offset + length; at += 4) {
        descriptors.push(control.readInt32LE(at));
      }
    }
    offset += (length + 7) & ~7;
  }
  return descriptors;
}

function controlSpace(descriptorCount: number): number {
  return descriptorCount === 0 ? 0 : controlHeaderBytes + ((4 * descriptorCount + 7) & ~7);
}

/** The buffers that the last structure points into. The collector does not see addresses: this keeps them until the call was made. */
const held: { buffers: readonly Uint8Array[] } = { buffers: [] };

/** `struct msghdr` of one vector, for the very next call. */
function messageHeader(data: Uint8Array, control: Buffer): Buffer {
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(BigInt(ptr(data)), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(BigInt(ptr(vector)), 16);
  header.writeBigUInt64LE(1n, 24);
  if (control.length > 0) {
    header.writeBigUInt64LE(BigInt(ptr(control)), 32);
    header.writeBigUInt64LE(BigInt(control.length), 40);
  }
  held.buffers = [vector, data, control];
  return header;
}

function closingOnFailure(descriptor: number, action: () => void): number {
  try {
    action();
    return descriptor;
  } catch (thrown) {
    libc.close(descriptor);
    throw thrown;
  }
}
