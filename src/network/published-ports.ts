// From what a client asks (`-p 4000:80`, `-P`) to bound sockets: a port that is taken is refused before anything else is changed.
import { isIPv4, isIPv6 } from "node:net";
import { EngineError } from "../common/index.ts";
import { SystemError, bindReserved, boundPort, closeDescriptor, formatEndpoint, listenTcp } from "../kernel/index.ts";
import type { PortBinding } from "../spec/index.ts";

export type PortProtocol = "tcp" | "udp";

/** One wish: a container's port on an address of the host. `hostPort` is the first of `hostPortCount`; 0: any. */
export interface PortRequest {
  readonly protocol: PortProtocol;
  readonly containerPort: number;
  /** Numeric; `0.0.0.0` is every IPv4 address. An IPv6 one is relayed, not translated. */
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly hostPortCount: number;
  /** Nobody named an address: then the IPv6 loopback is served too. */
  readonly everywhere: boolean;
}

/** A port as it was published. */
export interface PublishedPort {
  readonly protocol: PortProtocol;
  readonly containerPort: number;
  readonly hostAddress: string;
  readonly hostPort: number;
}

/** A listening socket whose connections the monitor passes on to the container. */
export interface Relay {
  readonly descriptor: number;
  readonly address: string;
  readonly port: number;
}

export interface ReservedPorts {
  readonly published: readonly PublishedPort[];
  readonly descriptors: readonly number[];
  /** Listening on the IPv6 side; `port` is the container's. */
  readonly relays: readonly { readonly descriptor: number; readonly port: number }[];
}

const maxPublishedPorts = 4096;
const randomPortAttempts = 16;

/** Reads a port of the API: `80`, `80/tcp`, `53/udp`. Throws invalidArgument; `unsupported` for sctp. */
export function parsePort(text: string): { port: number; protocol: PortProtocol } {
  const match = /^(\d{1,5})(?:\/([A-Za-z]+))?$/.exec(text);
  const port = Number(match?.[1]);
  if (!match || port < 1 || port > 65535) throw new EngineError("invalidArgument", `invalid port "${text}"`);
  const protocol = (match[2] ?? "tcp").toLowerCase();
  if (protocol === "sctp") throw new EngineError("unsupported", `port "${text}": SCTP cannot be published yet`);
  if (protocol !== "tcp" && protocol !== "udp") throw new EngineError("invalidArgument", `invalid proto: ${protocol}`);
  return { port, protocol };
}

/** What `HostConfig.PortBindings` and `PublishAllPorts` ask for, checked. A HostPort may be empty (any), one port, or a range. */
export function requestedPorts(options: {
  portBindings: Readonly<Record<string, readonly PortBinding[] | null>>;
  exposedPorts: readonly string[];
  publishAll: boolean;
}): PortRequest[] {
  const requests: PortRequest[] = [];
  for (const [text, bindings] of Object.entries(options.portBindings)) {
    const { port, protocol } = parsePort(text);
    for (const binding of bindings ?? []) requests.push(readBinding({ protocol, containerPort: port }, binding));
  }
  if (options.publishAll) {
    for (const text of options.exposedPorts) {
      const { port, protocol } = parsePort(text);
      const bound = requests.some((request) => request.containerPort === port && request.protocol === protocol);
      if (!bound) requests.push(readBinding({ protocol, containerPort: port }, {}));
    }
  }
  if (requests.length > maxPublishedPorts) {
    throw new EngineError("invalidArgument", `${requests.length} published ports are more than ${maxPublishedPorts}`);
  }
  return requests;
}

function readBinding(port: { protocol: PortProtocol; containerPort: number }, binding: PortBinding): PortRequest {
  const everywhere = !binding.HostIp;
  const hostAddress = (binding.HostIp || "0.0.0.0").replace(/^\[(.*)\]$/, "$1");
  if (!isIPv4(hostAddress) && !isIPv6(hostAddress)) {
    throw new EngineError("invalidArgument", `invalid IP address in port binding: "${hostAddress}"`);
  }
  if (isIPv6(hostAddress) && port.protocol === "udp") {
    throw new EngineError(
      "unsupported",
      `UDP port ${port.containerPort} on "${hostAddress}": only TCP is relayed from IPv6`,
    );
  }
  const match = /^(?:(\d{1,5})(?:-(\d{1,5}))?)?$/.exec(binding.HostPort ?? "");
  const first = Number(match?.[1] ?? 0);
  const last = Number(match?.[2] ?? first);
  if (!match || last > 65535 || last < first) {
    throw new EngineError("invalidArgument", `invalid port specification: "${binding.HostPort}"`);
  }
  return { ...port, hostAddress, hostPort: first, hostPortCount: last - first + 1, everywhere };
}

/** Reserves all of them or none. Throws `unavailable` with Docker's words when one is taken. Close what it returns. */
export function reservePorts(requests: readonly PortRequest[]): ReservedPorts {
  const published: PublishedPort[] = [];
  const descriptors: number[] = [];
  const relays: { descriptor: number; port: number }[] = [];
  try {
    for (const request of requests) {
      const reserved = reserveOne(request);
      descriptors.push(...reserved.descriptors);
      for (const descriptor of reserved.relays) relays.push({ descriptor, port: request.containerPort });
      const { protocol, containerPort, hostAddress } = request;
      published.push({ protocol, containerPort, hostAddress, hostPort: reserved.hostPort });
    }
    return { published, descriptors, relays };
  } catch (thrown) {
    for (const descriptor of [...descriptors, ...relays.map((relay) => relay.descriptor)]) closeDescriptor(descriptor);
    throw thrown;
  }
}

interface Reservation {
  readonly hostPort: number;
  readonly descriptors: readonly number[];
  readonly relays: readonly number[];
}

function reserveOne(request: PortRequest): Reservation {
  const attempts = request.hostPort === 0 ? randomPortAttempts : request.hostPortCount;
  for (let attempt = 0; ; attempt++) {
    const port = request.hostPort === 0 ? 0 : request.hostPort + attempt;
    try {
      return reserveExactly(request, port);
    } catch (thrown) {
      const taken = thrown instanceof SystemError && thrown.data["errnoName"] === "EADDRINUSE";
      if (!taken || attempt + 1 >= attempts) throw inDockersWords(request, thrown);
    }
  }
}

function reserveExactly(request: PortRequest, wantedPort: number): Reservation {
  if (isIPv6(request.hostAddress)) {
    const listener = listenTcp(request.hostAddress, wantedPort);
    return { hostPort: boundPort(listener), descriptors: [], relays: [listener] };
  }
  const descriptor = bindReserved(request.hostAddress, wantedPort, request.protocol);
  try {
    const hostPort = boundPort(descriptor);
    const relay = request.everywhere && request.protocol === "tcp" ? listenOnLoopback6(hostPort) : undefined;
    return { hostPort, descriptors: [descriptor], relays: relay === undefined ? [] : [relay] };
  } catch (thrown) {
    closeDescriptor(descriptor);
    throw thrown;
  }
}

/** A host without IPv6 has nothing to relay. */
function listenOnLoopback6(port: number): number | undefined {
  try {
    return listenTcp("::1", port);
  } catch (thrown) {
    const name = thrown instanceof SystemError ? thrown.data["errnoName"] : undefined;
    if (name === "EADDRNOTAVAIL" || name === "EAFNOSUPPORT") return undefined;
    throw thrown;
  }
}

function inDockersWords(request: PortRequest, thrown: unknown): unknown {
  if (!(thrown instanceof SystemError)) return thrown;
  const name = thrown.data["errnoName"];
  const where = `Bind for ${formatEndpoint(request.hostAddress, request.hostPort)} failed`;
  if (name === "EADDRINUSE") {
    return new EngineError("unavailable", `${where}: port is already allocated`, { cause: thrown, data: thrown.data });
  }
  return new EngineError("unavailable", `${where}: ${thrown.message}`, { cause: thrown, data: thrown.data });
}

/** `NetworkSettings.Ports`: published ports with their host side; ports that are only exposed with null. */
export function portsOf(
  published: readonly PublishedPort[],
  exposedPorts: readonly string[],
): Record<string, PortBinding[] | null> {
  const ports: Record<string, PortBinding[] | null> = {};
  for (const text of exposedPorts) {
    // What cannot be published can still be exposed, which is only a remark.
    ports[text.includes("/") ? text : `${text}/tcp`] = null;
  }
  for (const { protocol, containerPort, hostAddress, hostPort } of published) {
    const key = `${containerPort}/${protocol}`;
    (ports[key] ??= []).push({ HostIp: hostAddress, HostPort: String(hostPort) });
  }
  return ports;
}
