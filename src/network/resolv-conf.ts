// resolv.conf of a container.
import { readFileSync } from "node:fs";
import { isIPv4, isIPv6 } from "node:net";

/** systemd-resolved shows programs a server on 127.0.0.53; its own servers are in the second file. */
const hostFiles = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
const resolvedStub = "127.0.0.53";
/** What Docker falls back to when the host names no server that a container can reach. */
const publicServers = ["8.8.8.8", "8.8.4.4"];

/** The host's resolv.conf as it is; for a network namespace of its own only with servers that are reachable from there: no loopback, no IPv6. */
export function readResolvConf(options: { ownNamespace: boolean }): string {
  const text = readHostFile(hostFiles[0] ?? "");
  if (!options.ownNamespace) return text;
  const servers = serversOf(text);
  const useResolved = servers.length > 0 && servers.every((server) => server === resolvedStub);
  return forOwnNamespace(useResolved ? readHostFile(hostFiles[1] ?? "") || text : text);
}

/** Exported for tests: leaves out unreachable servers and comments, and falls back to public servers when none is left. */
export function forOwnNamespace(text: string): string {
  const lines = text.split("\n").map((line) => line.trim());
  const reachable = serversOf(text).filter((server) => isIPv4(server) && !server.startsWith("127."));
  const rest = lines.filter((line) => line !== "" && !/^[#;]/.test(line) && !/^nameserver\b/.test(line));
  const servers = reachable.length > 0 ? reachable : publicServers;
  return [...servers.map((server) => `nameserver ${server}`), ...rest, ""].join("\n");
}

function serversOf(text: string): string[] {
  const found = text.matchAll(/^[ \t]*nameserver[ \t]+(\S+)/gm);
  return [...found]
    .map((match) => match[1] ?? "")
    .filter((server) => isIPv4(server) || isIPv6(server.split("%")[0] ?? ""));
}

function readHostFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A host without the file resolves nothing itself; the caller then has the fallback.
    return "";
  }
}
