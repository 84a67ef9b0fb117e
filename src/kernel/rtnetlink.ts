// Links, addresses and routes: rtnetlink(7), include/uapi/linux/if_link.h. One object a network namespace.
import { isIPv4 } from "node:net";
import { EngineError } from "../common/index.ts";
import {
  NetlinkSocket,
  attribute,
  createExclusive,
  nest,
  netlinkFlag,
  netlinkProtocol,
  readAttributes,
  readText,
  text,
  u8,
  u32,
  type NetlinkMessage,
  type NetlinkReply,
} from "./netlink.ts";

const message = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  getAddress: 22,
  newRoute: 24,
  getRoute: 26,
};
const link = { address: 1, name: 3, mtu: 4, master: 10, info: 18, afSpec: 26, group: 27, netnsDescriptor: 28 };
const linkInfo = { kind: 1, data: 2, slaveKind: 4, slaveData: 5 };
const bridgePortMode = 4;
const vethPeer = 1;
const inet6AddressGeneration = 8;
const addressAttribute = { address: 1, local: 2, broadcast: 4 };
const routeAttribute = { destination: 1, output: 4, gateway: 5, table: 15 };
const interfaceUp = 1;
const afInet = 2;
const afInet6 = 10;
const mainTable = 254;
const maxNameBytes = 15;

export interface Link {
  readonly index: number;
  readonly name: string;
  /** `bridge`, `veth`…; empty for hardware. */
  readonly kind: string;
  readonly up: boolean;
  readonly mtu: number;
  readonly group: number;
  /** Index of the bridge or bond that it is a port of; 0: none. */
  readonly master: number;
  /** `02:42:ac:11:00:02`; empty where the link has none. */
  readonly macAddress: string;
}

export interface Route {
  /** Dotted address; `0.0.0.0` with prefix 0 is the default route. */
  readonly destination: string;
  readonly prefixLength: number;
  readonly gateway: string | undefined;
  readonly linkIndex: number | undefined;
}

export interface VethRequest {
  readonly name: string;
  readonly mtu: number;
  readonly group: number;
  /** Index of the bridge whose port the near end becomes; it is up at once, in hairpin mode. */
  readonly bridgeIndex: number;
  readonly peer: { readonly name: string; readonly macAddress: string; readonly namespaceDescriptor: number };
}

/** The links, addresses and IPv4 routes of one network namespace. Every call returns when the kernel has done it, or throws a SystemError. */
export class RouteSocket implements Disposable {
  constructor(readonly netlink: NetlinkSocket = NetlinkSocket.open(netlinkProtocol.route)) {}

  [Symbol.dispose](): void {
    this.netlink[Symbol.dispose]();
  }

  links(): Link[] {
    return this.netlink
      .dump({ type: message.getLink, payload: linkHeader(), what: "Cannot list network links" })
      .filter((reply) => reply.type === message.newLink)
      .map(readLink);
  }

  /** The link of this name, or undefined. */
  findLink(name: string): Link | undefined {
    try {
      const [reply] = this.netlink.request([
        {
          type: message.getLink,
          flags: 0,
          payload: Buffer.concat([linkHeader(), attribute(link.name, text(checkName(name)))]),
          what: `Cannot look up link "${name}"`,
        },
      ]);
      return reply && readLink(reply);
    } catch (thrown) {
      if (thrown instanceof EngineError && thrown.data["errnoName"] === "ENODEV") return undefined;
      throw thrown;
    }
  }

  /** A bridge that is up. Its MAC address is given, since one taken from its ports would change as they come and go. */
  createBridge(request: { name: string; macAddress: string; mtu: number; group: number }): void {
    const payload = Buffer.concat([
      linkHeader({ up: true }),
      attribute(link.name, text(checkName(request.name))),
      attribute(link.address, macBytes(request.macAddress)),
      attribute(link.mtu, u32(request.mtu)),
      attribute(link.group, u32(request.group)),
      nest(link.info, attribute(linkInfo.kind, text("bridge"))),
    ]);
    const what = `Cannot create bridge "${request.name}"`;
    this.netlink.request([{ type: message.newLink, flags: createExclusive, payload, what }]);
  }

  /** A veth pair: the near end a port of a bridge, the far end born inside another namespace. */
  createVeth(request: VethRequest): void {
    const { name, peer } = request;
    const what = `Cannot create veth "${name}"`;
    const far = Buffer.concat([
      linkHeader(),
      attribute(link.name, text(checkName(peer.name))),
      attribute(link.address, macBytes(peer.macAddress)),
      attribute(link.mtu, u32(request.mtu)),
      attribute(link.netnsDescriptor, u32(peer.namespaceDescriptor)),
    ]);
    const create = Buffer.concat([
      linkHeader({ up: true }),
      attribute(link.name, text(checkName(name))),
      attribute(link.mtu, u32(request.mtu)),
      attribute(link.group, u32(request.group)),
      attribute(link.master, u32(request.bridgeIndex)),
      nest(link.info, attribute(linkInfo.kind, text("veth")), nest(linkInfo.data, nest(vethPeer, far))),
    ]);
    const hairpin = Buffer.concat([
      linkHeader(),
      attribute(link.name, text(name)),
      nest(
        link.info,
        attribute(linkInfo.slaveKind, text("bridge")),
        nest(linkInfo.slaveData, attribute(bridgePortMode, u8(1))),
      ),
    ]);
    this.netlink.request([
      { type: message.newLink, flags: createExclusive, payload: create, what },
      { type: message.newLink, flags: netlinkFlag.acknowledge, payload: hairpin, what: `${what} in hairpin mode` },
    ]);
  }

  /** Changes a link. `ipv6: "off"` keeps the kernel from giving it a link-local address. */
  setLink(index: number, change: LinkChange): void {
    this.netlink.request([setLinkMessage(index, change)]);
  }

  /** Gives a link an IPv4 address and brings it up, with a default route where a gateway is given: what a container's eth0 needs, at once. */
  configure(index: number, settings: { address: string; prefixLength: number; gateway?: string; ipv6?: "off" }): void {
    const { address, prefixLength, gateway } = settings;
    const messages = [
      setLinkMessage(index, { up: true, ...(settings.ipv6 ? { ipv6: settings.ipv6 } : {}) }),
      addressMessage(index, { address, prefixLength }),
    ];
    if (gateway) messages.push(defaultRouteMessage(index, gateway));
    this.netlink.request(messages);
  }

  addAddress(index: number, request: { address: string; prefixLength: number }): void {
    this.netlink.request([addressMessage(index, request)]);
  }

  deleteLink(name: string): void {
    const payload = Buffer.concat([linkHeader(), attribute(link.name, text(checkName(name)))]);
    const what = `Cannot delete link "${name}"`;
    this.netlink.request([{ type: message.deleteLink, flags: netlinkFlag.acknowledge, payload, what }]);
  }

  /** IPv4 addresses of all links. */
  addresses(): { linkIndex: number; address: string; prefixLength: number }[] {
    const header = Buffer.alloc(8);
    header[0] = afInet;
    return this.netlink
      .dump({ type: message.getAddress, payload: header, what: "Cannot list addresses" })
      .filter((reply) => reply.type === message.newAddress && reply.payload[0] === afInet)
      .map(({ payload }) => {
        const attributes = readAttributes(payload.subarray(8));
        const bytes = attributes.get(addressAttribute.local) ?? attributes.get(addressAttribute.address);
        return { linkIndex: payload.readUInt32LE(4), address: dotted(bytes), prefixLength: payload[1] ?? 32 };
      });
  }

  /** IPv4 routes of the main table. */
  routes(): Route[] {
    const header = Buffer.alloc(12);
    header[0] = afInet;
    return this.netlink
      .dump({ type: message.getRoute, payload: header, what: "Cannot list routes" })
      .filter((reply) => reply.type === message.newRoute && reply.payload[0] === afInet)
      .flatMap(({ payload }) => {
        const attributes = readAttributes(payload.subarray(12));
        const table = attributes.get(routeAttribute.table)?.readUInt32LE(0) ?? payload[4];
        if (table !== mainTable) return [];
        const gateway = attributes.get(routeAttribute.gateway);
        return {
          destination: dotted(attributes.get(routeAttribute.destination)),
          prefixLength: payload[1] ?? 0,
          gateway: gateway && dotted(gateway),
          linkIndex: attributes.get(routeAttribute.output)?.readUInt32LE(0),
        };
      });
  }
}

export interface LinkChange {
  readonly up?: boolean;
  readonly name?: string;
  readonly mtu?: number;
  readonly macAddress?: string;
  /** Index of the new master; 0 leaves the present one. */
  readonly master?: number;
  readonly ipv6?: "off";
}

function setLinkMessage(index: number, change: LinkChange): NetlinkMessage {
  const parts = [linkHeader({ index, ...(change.up === undefined ? {} : { up: change.up }) })];
  if (change.name !== undefined) parts.push(attribute(link.name, text(checkName(change.name))));
  if (change.mtu !== undefined) parts.push(attribute(link.mtu, u32(change.mtu)));
  if (change.macAddress !== undefined) parts.push(attribute(link.address, macBytes(change.macAddress)));
  if (change.master !== undefined) parts.push(attribute(link.master, u32(change.master)));
  if (change.ipv6) parts.push(nest(link.afSpec, nest(afInet6, attribute(inet6AddressGeneration, u8(1)))));
  return {
    type: message.setLink,
    flags: netlinkFlag.acknowledge,
    payload: Buffer.concat(parts),
    what: `Cannot change link ${index}`,
  };
}

function addressMessage(index: number, request: { address: string; prefixLength: number }): NetlinkMessage {
  const header = Buffer.alloc(8);
  header[0] = afInet;
  header[1] = request.prefixLength;
  header.writeUInt32LE(index, 4);
  const bytes = ipv4Bytes(request.address);
  const hostBits = 2 ** (32 - request.prefixLength) - 1;
  const broadcast = Buffer.alloc(4);
  broadcast.writeUInt32BE((bytes.readUInt32BE(0) | hostBits) >>> 0);
  return {
    type: message.newAddress,
    flags: createExclusive,
    payload: Buffer.concat([
      header,
      attribute(addressAttribute.local, bytes),
      attribute(addressAttribute.address, bytes),
      attribute(addressAttribute.broadcast, broadcast),
    ]),
    what: `Cannot give link ${index} the address ${request.address}/${request.prefixLength}`,
  };
}

function defaultRouteMessage(index: number, gateway: string): NetlinkMessage {
  // struct rtmsg: table main, protocol boot, scope universe, type unicast.
  const header = Buffer.from([afInet, 0, 0, 0, mainTable, 3, 0, 1, 0, 0, 0, 0]);
  return {
    type: message.newRoute,
    flags: createExclusive,
    payload: Buffer.concat([
      header,
      attribute(routeAttribute.gateway, ipv4Bytes(gateway)),
      attribute(routeAttribute.output, u32(index)),
    ]),
    what: `Cannot route by ${gateway}`,
  };
}

/** `struct ifinfomsg`. */
function linkHeader(fields: { index?: number; up?: boolean } = {}): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(fields.index ?? 0, 4);
  if (fields.up !== undefined) {
    header.writeUInt32LE(fields.up ? interfaceUp : 0, 8);
    header.writeUInt32LE(interfaceUp, 12);
  }
  return header;
}

function readLink({ payload }: NetlinkReply): Link {
  const attributes = readAttributes(payload.subarray(16));
  const info = readAttributes(attributes.get(link.info) ?? Buffer.alloc(0));
  return {
    index: payload.readInt32LE(4),
    name: readText(attributes.get(link.name)),
    kind: readText(info.get(linkInfo.kind)),
    up: (payload.readUInt32LE(8) & interfaceUp) !== 0,
    mtu: attributes.get(link.mtu)?.readUInt32LE(0) ?? 0,
    group: attributes.get(link.group)?.readUInt32LE(0) ?? 0,
    master: attributes.get(link.master)?.readUInt32LE(0) ?? 0,
    macAddress: [...(attributes.get(link.address) ?? [])].map((byte) => byte.toString(16).padStart(2, "0")).join(":"),
  };
}

function checkName(name: string): string {
  if (/^[^\s/:\0]+$/.test(name) && name !== "." && name !== ".." && Buffer.byteLength(name) <= maxNameBytes)
    return name;
  throw new EngineError("invalidArgument", `"${name}" is not a link name: 1 to 15 bytes without blanks, "/" and ":"`);
}

function macBytes(address: string): Buffer {
  if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(address)) return Buffer.from(address.replaceAll(":", ""), "hex");
  throw new EngineError(
    "invalidArgument",
    `invalid MAC address "${address}": six pairs of hexadecimal digits are needed`,
  );
}

function ipv4Bytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  throw new EngineError("invalidArgument", `invalid IPv4 address "${address}"`);
}

function dotted(bytes: Buffer | undefined): string {
  return bytes ? [...bytes].join(".") : "0.0.0.0";
}
