import { isIP } from "node:net";
import type { PortBinding } from "../../spec/index.ts";
import { UsageError } from "../usage-error.ts";

export interface Ports {
  readonly exposed: Record<string, Record<string, never>>;
  readonly bindings: Record<string, PortBinding[]>;
}

interface Range {
  readonly first: number;
  readonly last: number;
}

const maxPort = 65_535;

/** `--publish` (`[ip:][host[-last]:]container[-last][/proto]`, or `published=,target=,protocol=`) and `--expose` together. */
export function parsePorts(publish: readonly string[], expose: readonly string[]): Ports {
  const ports: Ports = { exposed: {}, bindings: {} };
  for (const spec of publish) addPublished(ports, spec.includes("=") ? longSyntax(spec) : spec);
  for (const spec of expose) {
    const { text, protocol } = splitProtocol(spec);
    const range = parseRange(text);
    if (!range || spec.includes(":"))
      throw new UsageError(`invalid range format for --expose: ${spec}, error: ${rangeProblem(text)}`);
    for (const port of portsOf(range)) ports.exposed[`${port}/${protocol}`] = {};
  }
  return ports;
}

function longSyntax(spec: string): string {
  const parameters: Record<string, string> = { protocol: "tcp", published: "", target: "" };
  for (const parameter of spec.split(",")) {
    const equals = parameter.indexOf("=");
    if (equals < 1) {
      throw new UsageError(`invalid publish opts format (should be name=value but got '${parameter}')`);
    }
    parameters[parameter.slice(0, equals)] = parameter.slice(equals + 1);
  }
  return `${parameters["published"]}:${parameters["target"]}/${parameters["protocol"]}`;
}

function addPublished(ports: Ports, spec: string): void {
  const { text, protocol } = splitProtocol(spec);
  const { ip, host, container } = splitAddress(text);
  if (container === "") throw new UsageError(`no port specified: ${spec}<empty>`);
  const inside = parseRange(container);
  if (!inside) throw new UsageError(`invalid containerPort: ${container}`);
  const outside = host === "" ? undefined : parseRange(host);
  if (host !== "" && !outside) throw new UsageError(`invalid hostPort: ${host}`);
  if (ip !== "" && isIP(ip) === 0) throw new UsageError(`invalid IP address: ${ip}`);
  const insideCount = inside.last - inside.first + 1;
  const outsideCount = outside ? outside.last - outside.first + 1 : insideCount;
  if (insideCount !== outsideCount && insideCount !== 1) {
    throw new UsageError(`invalid ranges specified for container and host Ports: ${container} and ${host}`);
  }
  portsOf(inside).forEach((port, index) => {
    const key = `${port}/${protocol}`;
    ports.exposed[key] = {};
    (ports.bindings[key] ??= []).push({ HostIp: ip, HostPort: hostPortText(outside, { index, insideCount }) });
  });
}

/** One container port and several host ports: the engine picks one of them. */
function hostPortText(outside: Range | undefined, place: { index: number; insideCount: number }): string {
  if (!outside) return "";
  if (place.insideCount === 1 && outside.last > outside.first) return `${outside.first}-${outside.last}`;
  return String(outside.first + place.index);
}

function splitProtocol(spec: string): { text: string; protocol: string } {
  const [text = "", protocol = "tcp", ...more] = spec.split("/");
  if (more.length > 0 || !/^(tcp|udp|sctp)$/i.test(protocol)) throw new UsageError(`invalid proto: ${protocol}`);
  return { text, protocol: protocol.toLowerCase() };
}

function splitAddress(text: string): { ip: string; host: string; container: string } {
  const parts = text.split(":");
  const container = parts.pop() ?? "";
  const host = parts.pop() ?? "";
  const ip = parts.join(":").replace(/^\[(.*)\]$/, "$1");
  return { ip, host, container };
}

function parseRange(text: string): Range | undefined {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (!match) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first <= last && last <= maxPort ? { first, last } : undefined;
}

function rangeProblem(text: string): string {
  const bad = text.split("-").find((part) => !/^\d+$/.test(part));
  if (bad === "") return "empty string specified for ports.";
  if (bad !== undefined) return `strconv.ParseUint: parsing ${JSON.stringify(bad)}: invalid syntax`;
  return `invalid range specified for port: ${text}`;
}

function portsOf(range: Range): number[] {
  return Array.from({ length: range.last - range.first + 1 }, (_, index) => range.first + index);
}
