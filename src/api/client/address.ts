import { EngineError } from "../../common/index.ts";

/** Where an engine listens. */
export type EngineAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

const defaultTcpPort = 2375;
const defaultTlsPort = 2376;

/**
 * Parses what `-H` and `DOCKER_HOST` hold: `unix:///path`, `tcp://host[:port]`, `http://host[:port]`, an absolute path, or
 * `host:port`. Throws invalidArgument for anything else; `ssh://`, `npipe://` and `fd://` are refused by name.
 */
export function parseAddress(text: string): EngineAddress {
  const value = text.trim();
  const scheme = /^([a-z]+):\/\/(.*)$/is.exec(value);
  if (!scheme) {
    if (value.startsWith("/")) return { kind: "unix", path: value };
    return parseTcp(value, text);
  }
  const rest = scheme[2] ?? "";
  switch ((scheme[1] ?? "").toLowerCase()) {
    case "unix":
      if (rest === "") throw new EngineError("invalidArgument", `invalid bind address (${text}): no path given`);
      return { kind: "unix", path: rest };
    case "tcp":
    case "http":
      return parseTcp(rest.replace(/\/.*$/s, ""), text);
    case "ssh":
    case "npipe":
    case "fd":
    case "https":
      throw new EngineError("unsupported", `host "${text}": ${scheme[1]}:// is not built yet; use unix:// or tcp://`);
    default:
      throw new EngineError("invalidArgument", `invalid bind address (${text}): unsupported proto: ${scheme[1]}`);
  }
}

/** The reverse of `parseAddress`, for messages. */
export function formatAddress(address: EngineAddress): string {
  if (address.kind === "unix") return `unix://${address.path}`;
  return `tcp://${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

function parseTcp(rest: string, text: string): EngineAddress {
  const match = /^(?:\[([0-9a-f:.%]+)\]|([^:[\]]*))(?::(\d+))?$/i.exec(rest);
  if (!match || rest === "") throw new EngineError("invalidArgument", `unable to parse docker host \`${text}\``);
  const port =
    match[3] === undefined ? (process.env["DOCKER_TLS_VERIFY"] ? defaultTlsPort : defaultTcpPort) : Number(match[3]);
  if (port < 1 || port > 65_535) throw new EngineError("invalidArgument", `unable to parse docker host \`${text}\``);
  return { kind: "tcp", host: match[1] ?? (match[2] || "127.0.0.1"), port };
}
