// Ports of EXPOSE. The grammar is that of published ports (docker/go-connections, nat), though only the container's side counts.
import { isIP } from "node:net";
import { EngineError } from "../common/index.ts";

/** `80`, `80/udp`, `8000-8010/tcp`, `127.0.0.1:8080:80` of EXPOSE as `80/tcp` keys. Throws with Docker's words. */
export function parseExposedPorts(specifications: readonly string[]): string[] {
  return specifications.flatMap(parseOne);
}

function parseOne(specification: string): string[] {
  const parts = specification.split(":");
  const container = parts.pop() ?? "";
  const hostPort = parts.pop() ?? "";
  const address = parts.join(":");
  const [range = "", protocolText = ""] = container.split("/", 2);
  if (range === "") throw refused(`No port specified: ${specification}<empty>`);
  const protocol = (protocolText || "tcp").toLowerCase();
  if (!["tcp", "udp", "sctp"].includes(protocol)) throw refused(`Invalid proto: ${protocolText}`);
  if (address !== "" && isIP(address.replace(/^\[(.*)\]$/, "$1")) === 0)
    throw refused(`Invalid ip address: ${address}`);
  const ports = parseRange(range);
  if (!ports) throw refused(`Invalid containerPort: ${range}`);
  checkHostPort(hostPort, { range, ports });
  return Array.from({ length: ports.last - ports.first + 1 }, (_, index) => `${ports.first + index}/${protocol}`);
}

interface PortRange {
  readonly first: number;
  readonly last: number;
}

function parseRange(text: string): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  return !match || last > 65535 || first > last ? undefined : { first, last };
}

/** A host port says nothing here, but one that is none is a mistake all the same. */
function checkHostPort(hostPort: string, { range, ports }: { range: string; ports: PortRange }): void {
  if (hostPort === "") return;
  const host = parseRange(hostPort);
  if (!host) throw refused(`Invalid hostPort: ${hostPort}`);
  const [size, wanted] = [host.last - host.first, ports.last - ports.first];
  // A range of host ports for one of the container is one to choose from.
  if (size === wanted || wanted === 0) return;
  throw refused(`Invalid ranges specified for container and host Ports: ${range} and ${hostPort}`);
}

function refused(message: string): EngineError {
  return new EngineError("invalidArgument", message);
}
