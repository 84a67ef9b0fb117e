import { existsSync, readFileSync, readdirSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { EngineError } from "../common/index.ts";

/** What the daemon was told about registries. */
export interface RegistrySettings {
  /** `host`, `host:port` or IPv4 `a.b.c.d/bits`: plain HTTP and unknown certificates are accepted there, as on loopback addresses. */
  readonly insecureRegistries: readonly string[];
  /** Has a folder `host:port/` with `*.crt` (authorities), `x.cert` and `x.key` (this client) for each registry that needs them. */
  readonly certificatesDirectory: string;
  /** Base URLs that are asked in this order before docker.io, and without credentials. */
  readonly registryMirrors?: readonly string[];
  /** Layers may come from the addresses that their manifests name. */
  readonly allowForeignLayers?: boolean;
}

/** Docker's place, so that what was set up for it holds here. */
export const defaultRegistrySettings: RegistrySettings = {
  insecureRegistries: [],
  certificatesDirectory: "/etc/docker/certs.d",
};

/** What Docker's `X-Registry-Auth` carries. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  /** A refresh token that a token server gave instead of a password. */
  readonly identityToken?: string;
  /** A bearer token for the registry itself. */
  readonly registryToken?: string;
}

/** Options of a TLS connection as `fetch` takes them. */
export interface TlsOptions {
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized?: boolean;
}

/** Throws invalidArgument for an entry that could never match. */
export function checkInsecureRegistry(entry: string): void {
  if (/^(\d{1,3}\.){3}\d{1,3}\/\d{1,2}$/.test(entry) && parseRange(entry)) return;
  if (/^[a-zA-Z0-9.-]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$/.test(entry)) return;
  throw new EngineError(
    "invalidArgument",
    `insecure registry "${entry}" is neither host[:port] nor an IPv4 range a.b.c.d/bits`,
  );
}

/** As Docker's rule: scheme, host and port, and nothing else. Answers it with a slash at the end. Throws invalidArgument. */
export function checkRegistryMirror(mirror: string): string {
  const url = URL.parse(mirror);
  const why = !url
    ? "it is no URL"
    : !/^https?:$/.test(url.protocol)
      ? `"${url.protocol}" is neither http: nor https:`
      : url.username || url.password
        ? "a user or password is in it"
        : url.pathname !== "/" || url.search || url.hash
          ? "path, query or fragment is in it"
          : undefined;
  if (why !== undefined) throw new EngineError("invalidArgument", `invalid mirror "${mirror}": ${why}`);
  return `${url?.origin}/`;
}

/** Whether `domain` (`host[:port]`) may be spoken to in the clear. */
export function isInsecure(domain: string, { insecureRegistries }: RegistrySettings): boolean {
  const host = hostOf(domain);
  if (host === "localhost" || host === "::1" || host.startsWith("127.")) return true;
  return insecureRegistries.some((entry) => {
    if (entry === domain || entry === host) return true;
    const range = parseRange(entry);
    return range !== undefined && isIP(host) === 4 && (addressBits(host) & range.mask) === (range.address & range.mask);
  });
}

/** Certificates for `domain` from its folder; an insecure registry's own certificate is not verified. */
export function tlsOptionsFor(domain: string, settings: RegistrySettings): TlsOptions {
  const options: { ca?: string[]; cert?: string; key?: string; rejectUnauthorized?: boolean } = {};
  if (isInsecure(domain, settings)) options.rejectUnauthorized = false;
  const folder = join(settings.certificatesDirectory, domain);
  // The grammar of domains has no slash and no "..", so that the folder is below the directory.
  if (!existsSync(folder)) return options;
  const names = readdirSync(folder).sort();
  const authorities = names.filter((name) => name.endsWith(".crt"));
  if (authorities.length > 0) options.ca = authorities.map((name) => readFileSync(join(folder, name), "utf8"));
  const own = names.find((name) => name.endsWith(".cert"));
  if (own === undefined) return options;
  const key = own.replace(/\.cert$/, ".key");
  if (!names.includes(key)) {
    throw new EngineError(
      "invalidArgument",
      `missing key ${key} for client certificate ${own}. Note that CA certificates should use the extension .crt`,
    );
  }
  return { ...options, cert: readFileSync(join(folder, own), "utf8"), key: readFileSync(join(folder, key), "utf8") };
}

function hostOf(domain: string): string {
  return domain.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}

function parseRange(entry: string): { address: number; mask: number } | undefined {
  const [address = "", bits] = entry.split("/");
  if (bits === undefined || isIP(address) !== 4 || !(Number(bits) <= 32)) return undefined;
  return { address: addressBits(address), mask: Number(bits) === 0 ? 0 : (-1 << (32 - Number(bits))) | 0 };
}

function addressBits(address: string): number {
  return address.split(".").reduce((bits, part) => (bits << 8) | Number(part), 0);
}
