import { EngineError } from "../common/index.ts";

/** `80`, `80/udp`, `8000-8010/tcp`, `127.0.0.1:8080:80` of EXPOSE as `80/tcp` keys. Throws with Docker's words. */
export function parseExposedPorts(specifications: readonly string[]): string[] {
  return specifications.flatMap(parseOne);
}

function parseOne(specification: string): string[] {
  const container = specification.slice(specification.lastIndexOf(":") + 1);
  const [range = "", protocolText = ""] = container.split("/", 2);
  if (range === "") throw refused(`No port specified: ${specification}<empty>`);
  const protocol = (protocolText || "tcp").toLowerCase();
  if (!["tcp", "udp", "sctp"].includes(protocol)) throw refused(`Invalid proto: ${protocolText}`);
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(range);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || last > 65535 || first > last) throw refused(`Invalid containerPort: ${range}`);
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`);
}

function refused(message: string): EngineError {
  return new EngineError("invalidArgument", message);
}
