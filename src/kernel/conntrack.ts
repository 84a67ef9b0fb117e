// Connection tracking through ctnetlink: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
import { readFileSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import { NetlinkSocket, attribute, nest, netlinkFlag, netlinkProtocol, readAttributes, u8, u32 } from "./netlink.ts";

const subsystem = 1;
const message = { get: 1, delete: 2 };
const tuple = { original: 1, reply: 2, id: 12, zone: 18, filter: 25 };
const tuplePart = { ip: 1, protocol: 2 };
const sourceAddress = 1;
const protocolPart = { number: 1, destinationPort: 3 };
/** Bits that tell which parts of a tuple a listing is filtered by (CTA_FILTER_F_…). */
const filterFlag = { source: 1 << 0, protocol: 1 << 3 };
const afInet = 2;
const udp = 17;
const empty = Buffer.alloc(0);

/** A connection's attributes as listed. */
type Entry = ReadonlyMap<number, Buffer>;

/** The connections of one network namespace that the kernel follows. Each listing walks the kernel's whole table: some 5 ms even when it is empty. */
export class Conntrack implements Disposable {
  constructor(readonly netlink: NetlinkSocket = NetlinkSocket.open(netlinkProtocol.netfilter)) {}

  [Symbol.dispose](): void {
    this.netlink[Symbol.dispose]();
  }

  /** How many connections there are, in microseconds. */
  count(): number {
    return Number(readFileSync("/proc/sys/net/netfilter/nf_conntrack_count", "utf8"));
  }

  /** Forgets every IPv4 connection that comes from or is led to one of the addresses. Returns how many there were. */
  deleteOf(addresses: ReadonlySet<string>): number {
    const entries = this.#list([]).filter((entry) => {
      return addresses.has(sourceOf(entry, tuple.original)) || addresses.has(sourceOf(entry, tuple.reply));
    });
    return this.#delete(entries);
  }

  /** One direction of `deleteOf` for one address, for when there are many connections: the kernel lists only the matching ones. */
  deleteOneOf(address: string, direction: "outgoing" | "incoming"): number {
    const side = direction === "outgoing" ? tuple.original : tuple.reply;
    const bytes = Buffer.from(address.split(".").map(Number));
    const entries = this.#list([
      nest(side, nest(tuplePart.ip, attribute(sourceAddress, bytes))),
      filterBy(side, filterFlag.source),
    ]);
    return this.#delete(entries.filter((entry) => sourceOf(entry, side) === address));
  }

  /** Forgets every UDP flow to these ports of any address: one begun before a port was published would pass by its translation. */
  deleteUdpTo(ports: ReadonlySet<number>): number {
    const protocol = nest(tuplePart.protocol, attribute(protocolPart.number, u8(udp)));
    const entries = this.#list([nest(tuple.original, protocol), filterBy(tuple.original, filterFlag.protocol)]);
    return this.#delete(entries.filter((entry) => ports.has(udpPortOf(entry))));
  }

  /** Kernels before 5.8 know no filter and list everything: callers look again at what comes. */
  #list(filter: readonly Buffer[]): Entry[] {
    const payload = Buffer.concat([header(), ...filter]);
    const what = "Cannot list tracked connections";
    const replies = this.netlink.dump({ type: (subsystem << 8) | message.get, payload, what });
    return replies.map((reply) => readAttributes(reply.payload.subarray(4)));
  }

  #delete(entries: readonly Entry[]): number {
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

/** The attribute CTA_FILTER: flags for the original and for the reply tuple. */
function filterBy(side: number, flags: number): Buffer {
  const sides = [tuple.original, tuple.reply];
  return nest(tuple.filter, ...sides.map((each) => attribute(each, u32(each === side ? flags : 0))));
}

function sourceOf(entry: Entry, side: number): string {
  const parts = readAttributes(entry.get(side) ?? empty);
  const address = readAttributes(parts.get(tuplePart.ip) ?? empty).get(sourceAddress);
  return address ? [...address].join(".") : "";
}

function udpPortOf(entry: Entry): number {
  const parts = readAttributes(readAttributes(entry.get(tuple.original) ?? empty).get(tuplePart.protocol) ?? empty);
  if (parts.get(protocolPart.number)?.[0] !== udp) return -1;
  return parts.get(protocolPart.destinationPort)?.readUInt16BE(0) ?? -1;
}

/** `struct nfgenmsg` of IPv4. */
function header(): Buffer {
  return Buffer.from([afInet, 0, 0, 0]);
}
