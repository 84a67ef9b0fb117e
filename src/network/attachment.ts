// What a container asks of the network, what it gets, and what the database keeps of it.
import { EngineError, newId } from "../common/index.ts";
import { closeDescriptor } from "../kernel/index.ts";
import type { EndpointSettings, PortBinding } from "../spec/index.ts";
import type { EndpointRecord } from "./endpoint-store.ts";
import { portsOf, type Relay, type ReservedPorts } from "./published-ports.ts";
import { formatSubnet, gatewayOf, isHostOf, lowestFreeAddress, macAddressOf, type Subnet } from "./subnet.ts";

export interface AttachRequest {
  readonly containerId: string;
  /** For error sentences and `network inspect`. */
  readonly containerName?: string;
  /** `default`, `bridge`, `host`, `none`, or `container:` and a whole id. */
  readonly networkMode: string;
  readonly hostname: string;
  readonly portBindings: Readonly<Record<string, PortBinding[] | null>>;
  /** `80/tcp`. */
  readonly exposedPorts: readonly string[];
  readonly publishAll: boolean;
  readonly macAddress?: string;
  readonly ipv4Address?: string;
}

export interface Attachment {
  readonly namespace: { readonly kind: "path"; readonly path: string } | { readonly kind: "host" };
  readonly networkName: string;
  /** Absent when another container's network is shared. */
  readonly settings: EndpointSettings | undefined;
  readonly sandboxKey: string;
  readonly ports: Record<string, PortBinding[] | null>;
  /** Bound descriptors that the monitor holds as long as the container lives. Close yours after it was started. */
  readonly reserved: number[];
  /** Listening descriptors whose connections the monitor passes on to `address:port`. Close yours too. */
  readonly relays: Relay[];
  readonly hosts: { address: string; name: string }[];
}

const hostSandbox = "/proc/1/ns/net";
/** With the endpoint's first digits it stays below a link name's 15 bytes. */
const linkPrefix = "vt";

/** The attachment that a record tells of; `ports` only while their descriptors are ours. */
export function toAttachment(endpoint: EndpointRecord, ports?: ReservedPorts): Attachment {
  const { namespacePath, settings } = endpoint;
  const address = settings?.IPAddress ?? "";
  return {
    namespace: namespacePath === undefined ? { kind: "host" } : { kind: "path", path: namespacePath },
    networkName: endpoint.networkName,
    settings,
    sandboxKey: namespacePath ?? hostSandbox,
    ports: { ...endpoint.ports },
    reserved: [...(ports?.descriptors ?? [])],
    relays: (ports?.relays ?? []).map((relay) => ({ ...relay, address })),
    hosts: endpoint.hosts.map((line) => ({ ...line })),
  };
}

export function closeReserved(ports: ReservedPorts): void {
  for (const descriptor of [...ports.descriptors, ...ports.relays.map((relay) => relay.descriptor)]) {
    closeDescriptor(descriptor);
  }
}

/** An endpoint without links: on `host`, on `none`, in another container's network. */
export function simpleEndpoint(
  request: AttachRequest,
  network: { id: string; name: string; namespacePath: string | undefined },
): EndpointRecord {
  return {
    containerId: request.containerId,
    containerName: request.containerName ?? "",
    networkName: network.name,
    namespacePath: network.namespacePath,
    settings: emptySettings(network.id, newId()),
    link: undefined,
    published: [],
    ports: {},
    hosts: [],
  };
}

export interface BridgePlace {
  readonly networkId: string;
  readonly endpointId: string;
  readonly subnet: Subnet;
  /** Addresses that nobody may get. */
  readonly used: ReadonlySet<string>;
  readonly namespacePath: string;
  readonly reserved: ReservedPorts;
}

/** An endpoint on the bridge, with the address that was asked for or the lowest free one. Throws invalidArgument, conflict, resourceExhausted. */
export function bridgeEndpoint(request: AttachRequest, place: BridgePlace): EndpointRecord {
  const { subnet, used } = place;
  const wanted = request.ipv4Address;
  if (wanted !== undefined && !isHostOf(subnet, wanted)) {
    throw new EngineError(
      "invalidArgument",
      `invalid address ${wanted}: It does not belong to ${formatSubnet(subnet)}`,
    );
  }
  if (wanted !== undefined && used.has(wanted)) throw new EngineError("conflict", "Address already in use");
  const address = wanted ?? lowestFreeAddress(subnet, used);
  const { published } = place.reserved;
  return {
    containerId: request.containerId,
    containerName: request.containerName ?? "",
    networkName: "bridge",
    namespacePath: place.namespacePath,
    settings: {
      ...emptySettings(place.networkId, place.endpointId),
      Gateway: gatewayOf(subnet),
      IPAddress: address,
      IPPrefixLen: subnet.prefixLength,
      MacAddress: (request.macAddress ?? macAddressOf(address)).toLowerCase(),
    },
    link: `${linkPrefix}${place.endpointId.slice(0, 12)}`,
    published,
    ports: portsOf(published, request.exposedPorts),
    hosts: request.hostname ? [{ address, name: request.hostname }] : [],
  };
}

function emptySettings(networkId: string, endpointId: string): EndpointSettings {
  return {
    IPAMConfig: null,
    Links: null,
    Aliases: null,
    DriverOpts: null,
    NetworkID: networkId,
    EndpointID: endpointId,
    Gateway: "",
    IPAddress: "",
    IPPrefixLen: 0,
    IPv6Gateway: "",
    GlobalIPv6Address: "",
    GlobalIPv6PrefixLen: 0,
    MacAddress: "",
    DNSNames: null,
  };
}
