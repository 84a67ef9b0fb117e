// Connection tracking through ctnetlink: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
import { EngineError } from "../common/index.ts";
import {
  NetlinkSocket,
  attribute,
  nest,
  netlinkFlag,
  netlinkProtocol,
  readAttributes,
  u8,
  u16be,
  u32,
} from "./netlink.ts";

const subsystem = 1;
const message = { get: 1, delete: 2 };
const tuple = { original: 1, reply: 2, id: 12, zone: 18, filter: 25 };
const tuplePart = { ip: 1, protocol: 2 };
const ip = { source: 1, destination: 2 };
const protocolPart = { number: 1, sourcePort: 2, destinationPort: 3 };
const filterFlag = { source: 1 << 0, destination: 1 << 1, protocol: 1 << 3, destinationPort: 1 << 5 };
const filterAttribute = { original: 1, reply: 2 };
const afInet = 2;
const udp = 17;

/** The connections of one network namespace that the kernel follows. */
export class Conntrack implements Disposable {
  constructor(readonly netlink: NetlinkSocket = NetlinkSocket.open(netlinkProtocol.netfilter)) {}

  [Symbol.dispose](): void {
    this.netlink[Symbol.dispose]();
  }

  /** Forgets every IPv4 connection that comes from or is led to the address. Returns how many there were. */
  deleteOf(address: string): number {
    const bytes = Buffer.from(address.split(".").map(Number));
    const source = nest(tuplePart.ip, attribute(ip.source, bytes));
    const outgoing = this.#list([
      nest(tuple.original, source),
      nest(
        tuple.filter,
        attribute(filterAttribute.original, u32(filterFlag.source)),
        attribute(filterAttribute.reply, u32(0)),
      ),
    ]);
    const incoming = this.#list([
      nest(tuple.reply, source),
      nest(
        tuple.filter,
        attribute(filterAttribute.original, u32(0)),
        attribute(filterAttribute.reply, u32(filterFlag.source)),
      ),
    ]);
    const entries = [
      ...outgoing.filter((entry) => sourceOf(entry.get(tuple.original)).equals(bytes)),
      ...incoming.filter((entry) => sourceOf(entry.get(tuple.reply)).equals(bytes)),
    ];
    return this.#delete(entries);
  }

  /** Forgets every UDP flow to a port of any address: one begun before the port was published would pass by its translation. */
  deleteUdpTo(port: number): number {
    const protocol = nest(
      tuplePart.protocol,
      attribute(protocolPart.number, u8(udp)),
      attribute(protocolPart.destinationPort, u16be(port)),
    );
    const flags = u32(filterFlag.protocol | filterFlag.destinationPort);
    const entries = this.#list([
      nest(tuple.original, protocol),
      nest(tuple.filter, attribute(filterAttribute.original, flags), attribute(filterAttribute.reply, u32(0))),
    ]);
    return this.#delete(
      entries.filter((entry) => {
        const parts = readAttributes(
          readAttributes(entry.get(tuple.original) ?? empty).get(tuplePart.protocol) ?? empty,
        );
        return (
          parts.get(protocolPart.number)?.[0] === udp &&
          parts.get(protocolPart.destinationPort)?.readUInt16BE(0) === port
        );
      }),
    );
  }

  /** Kernels before 5.8 know no filter and list everything: callers look again at what comes. */
  #list(filter: readonly Buffer[]): Map<number, Buffer>[] {
    const payload = Buffer.concat([header(), ...filter]);
    const what = "Cannot list tracked connections";
    const replies = this.netlink.dump({ type: (subsystem << 8) | message.get, payload, what });
    return replies.map((reply) => readAttributes(reply.payload.subarray(4)));
  }

  #delete(entries: readonly Map<number, Buffer>[]): number {
    let deleted = 0;
    for (const entry of entries) {
      const original = entry.get(tuple.original);
      const id = entry.get(tuple.id);
      // Without a tuple the kernel would forget every connection of the machine.
      if (!original || original.length === 0 || !id) continue;
      const zone = entry.get(tuple.zone);
      const parts = [header(), nest(tuple.original, original), attribute(tuple.id, id)];
      if (zone) parts.push(attribute(tuple.zone, zone));
      const type = (subsystem << 8) | message.delete;
      const what = "Cannot forget a tracked connection";
      try {
        this.netlink.request([{ type, flags: netlinkFlag.acknowledge, payload: Buffer.concat(parts), what }]);
        deleted++;
      } catch (thrown) {
        // It ended meanwhile.
        if (!(thrown instanceof EngineError && thrown.code === "notFound")) throw thrown;
      }
    }
    return deleted;
  }
}

const empty = Buffer.alloc(0);

function sourceOf(bytes: Buffer | undefined): Buffer {
  return readAttributes(readAttributes(bytes ?? empty).get(tuplePart.ip) ?? empty).get(ip.source) ?? empty;
}

/** `struct nfgenmsg` of IPv4. */
function header(): Buffer {
  return Buffer.from([afInet, 0, 0, 0]);
}
