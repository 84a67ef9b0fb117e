import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError, type Paths } from "../common/index.ts";
import type { Mount } from "../spec/index.ts";

/** The three files that a container gets from its engine and that no image or commit holds. */
export const hostFileNames = ["resolv.conf", "hostname", "hosts"] as const;

const hostsHead = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

/** Writes them in place: they are bound into running containers, which a rename would cut off. */
export function writeHostFiles(
  paths: Paths,
  container: {
    readonly id: string;
    readonly hostname: string;
    readonly domainname: string;
    readonly resolvConf: string;
    readonly hosts: readonly { address: string; name: string }[];
    readonly extraHosts: readonly string[];
  },
): void {
  const directory = paths.container(container.id);
  mkdirSync(directory, { recursive: true, mode: 0o710 });
  const write = (name: string, text: string): void => writeFileSync(join(directory, name), text, { mode: 0o644 });
  write("hostname", `${container.hostname}\n`);
  const lines = [...container.extraHosts.map(parseExtraHost), ...container.hosts].map(
    ({ address, name }) => `${address}\t${name}\n`,
  );
  write("hosts", hostsHead + lines.join(""));
  write("resolv.conf", container.resolvConf);
}

/** `--add-host NAME:ADDRESS`. */
export function parseExtraHost(text: string): { name: string; address: string } {
  const [, name, address] = /^([^:=]+)[:=](.+)$/.exec(text) ?? [];
  if (!name || !address || /\s/.test(text))
    throw new EngineError("invalidArgument", `bad format for add-host: "${text}"`);
  if (address === "host-gateway")
    throw new EngineError("unsupported", `"${text}": host-gateway is not built yet; give an address`);
  if (!/^[0-9a-fA-F.:[\]]+$/.test(address))
    throw new EngineError("invalidArgument", `invalid IP address in add-host: "${address}"`);
  return { name, address };
}

/** Whether a path is one of them, also before the first start has written it. */
export function isHostFile(paths: Paths, id: string, path: string): boolean {
  return hostFileNames.some((name) => path === join(paths.container(id), name));
}

/** Their binds, but for those that a mount of the container's own covers. */
export function hostFileMounts(paths: Paths, id: string, covered: ReadonlySet<string>): Mount[] {
  return hostFileNames
    .filter((name) => !covered.has(`/etc/${name}`))
    .map((name) => ({
      type: "bind",
      source: join(paths.container(id), name),
      target: `/etc/${name}`,
      options: ["rbind", "rprivate"],
    }));
}
