import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { createServer } from "./api/index.ts";
import { EngineError, Paths, defaultRoot, defaultRunRoot, parseSize, toEngineError } from "./common/index.ts";
import { createEngine, type EngineOptions } from "./engine/index.ts";
import { lockFile } from "./kernel/index.ts";
import { checkInsecureRegistry, checkRegistryMirror, defaultRegistrySettings } from "./registry/index.ts";
import { parseStorageDriver } from "./snapshot/index.ts";

const help = `Usage:  vitrine daemon [OPTIONS]

The engine: serves the Docker Engine API on a unix socket. Containers outlive it.

Options:
      --root string       Where images, containers and volumes are kept (default "${defaultRoot}")
      --run string        Where run state and the socket are (default "${defaultRunRoot}")
  -H, --host string       Socket to serve: unix:///path (default "unix://<run>/vitrine.sock")
      --instance string   Names this engine's control groups and firewall table (default "vitrine")
      --bridge string     Name of its bridge (default "vitrine0")
      --bip string        The bridge's subnet, such as 172.30.0.0/16 (default: the first free one from 172.17.0.0/16)
      --storage-driver string
                          overlay2, btrfs, fuse-overlayfs or vfs (default: what the root has layers of, else the first that its file system can hold)
      --build-cache-size bytes
                          What the cache of builds may hold before the least recently used goes, such as 5gb; 0 for no limit (default 20GiB)
      --insecure-registry string
                          A registry (host[:port] or a.b.c.d/bits) that may speak plain HTTP; repeatable; loopback ones may
      --registry-mirror string
                          A registry (http[s]://host[:port]) to ask before Docker Hub, without credentials; repeatable
      --allow-foreign-layers
                          Take layers that registries do not hold from the addresses that their images name
      --label string      A label that "info" shows; repeatable
      --helper string     The helper program (default: the one beside this program)
      --no-pivot          Enter containers by moving the mount and chroot, where the root is an initramfs
  -D, --debug             Say more
      --help              Print this
`;

const optionTypes = {
  root: { type: "string", default: defaultRoot },
  run: { type: "string", default: defaultRunRoot },
  host: { type: "string", short: "H" },
  instance: { type: "string", default: "vitrine" },
  bridge: { type: "string", default: "vitrine0" },
  bip: { type: "string" },
  "storage-driver": { type: "string" },
  "build-cache-size": { type: "string" },
  "insecure-registry": { type: "string", multiple: true, default: [] as string[] },
  "registry-mirror": { type: "string", multiple: true, default: [] as string[] },
  "allow-foreign-layers": { type: "boolean", default: false },
  label: { type: "string", multiple: true, default: [] as string[] },
  helper: { type: "string" },
  "no-pivot": { type: "boolean", default: false },
  debug: { type: "boolean", short: "D", default: false },
  help: { type: "boolean", default: false },
} as const;

/** Runs until SIGTERM or SIGINT. Sets the exit code: 0 for an orderly end, 1 for a failure, 125 for wrong arguments. */
export async function runDaemon(args: readonly string[]): Promise<void> {
  const options = parseOptions(args);
  if (!options) return;
  try {
    await serve(options);
  } catch (error) {
    process.stderr.write(`vitrine: ${toEngineError(error).message}\n`);
    process.exit(1);
  }
}

interface DaemonOptions {
  readonly engine: EngineOptions;
  readonly socketPath: string;
}

function parseOptions(args: readonly string[]): DaemonOptions | undefined {
  try {
    const { values } = parseArgs({ args: [...args], options: optionTypes, strict: true, allowPositionals: false });
    if (values.help) {
      process.stdout.write(help);
      return undefined;
    }
    return toDaemonOptions(values);
  } catch (error) {
    process.stderr.write(`vitrine daemon: ${(error as Error).message}\nSee 'vitrine daemon --help'.\n`);
    process.exit(125);
  }
}

function toDaemonOptions(
  values: ReturnType<typeof parseArgs<{ options: typeof optionTypes }>>["values"],
): DaemonOptions {
  const paths = new Paths(values.root, values.run);
  const { instance = "vitrine", bridge = "vitrine0" } = values;
  if (!/^[a-z][a-z0-9_-]{0,30}$/.test(instance)) {
    throw new EngineError(
      "invalidArgument",
      `instance "${instance}" is not a lower-case name of up to 31 letters, digits, "-" and "_"`,
    );
  }
  if (!/^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$/.test(bridge)) {
    throw new EngineError(
      "invalidArgument",
      `bridge "${bridge}" is not an interface name of up to 15 letters and digits`,
    );
  }
  for (const entry of values["insecure-registry"] ?? []) checkInsecureRegistry(entry);
  const host = values.host ?? `unix://${paths.apiSocket}`;
  if (!host.startsWith("unix://"))
    throw new EngineError("unsupported", `host "${host}": only unix:// sockets are served so far`);
  const engine: EngineOptions = {
    paths,
    instance,
    bridgeName: bridge,
    ...(values.bip === undefined ? {} : { subnet: values.bip }),
    ...(values["storage-driver"] === undefined ? {} : { storageDriver: parseStorageDriver(values["storage-driver"]) }),
    ...(values["build-cache-size"] === undefined ? {} : { buildCacheBytes: cacheSize(values["build-cache-size"]) }),
    registries: {
      ...defaultRegistrySettings,
      insecureRegistries: values["insecure-registry"] ?? [],
      registryMirrors: (values["registry-mirror"] ?? []).map(checkRegistryMirror),
      allowForeignLayers: values["allow-foreign-layers"] ?? false,
    },
    labels: values.label ?? [],
    debug: values.debug ?? false,
    noPivot: values["no-pivot"] ?? false,
    helperPath: values.helper ?? besideExecutable("vitrine-helper"),
    bunPath: isCompiled() ? besideExecutable("bun") : process.execPath,
    log: (level, message) => {
      if (level === "debug" && !values.debug) return;
      process.stderr.write(`${new Date().toISOString()} ${level} ${message}\n`);
    },
  };
  return { engine, socketPath: host.slice("unix://".length) };
}

/** Docker's `builder.gc.defaultKeepStorage`. */
function cacheSize(text: string): number {
  const bytes = parseSize(text);
  return bytes === 0 ? Number.MAX_SAFE_INTEGER : bytes;
}

function isCompiled(): boolean {
  return import.meta.path.startsWith("/$bunfs/");
}

/** What `npm ci` put into dist/: beside the executable, or, when run from source, beside src/. */
function besideExecutable(name: string): string {
  const folder = isCompiled() ? dirname(process.execPath) : join(import.meta.dir, "..", "dist");
  const path = join(folder, name);
  if (!existsSync(path)) throw new EngineError("unavailable", `"${path}" is missing: run npm ci, which makes it`);
  return path;
}

/** Registries of this machine are never asked for by a proxy of HTTP_PROXY, which means another machine. Go's programs hold it so. */
function exemptLoopback(): void {
  const given = process.env.NO_PROXY ?? process.env.no_proxy ?? "";
  const exempt = [given, "localhost", "127.0.0.1", "::1"].filter((part) => part !== "").join(",");
  Object.assign(process.env, { NO_PROXY: exempt, no_proxy: exempt });
}

async function serve({ engine: options, socketPath }: DaemonOptions): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new EngineError("permissionDenied", "The engine makes namespaces, mounts and networks: run it as root");
  }
  mkdirSync(options.paths.root, { recursive: true, mode: 0o711 });
  if (!lockFile(join(options.paths.root, "engine.lock"))) {
    throw new EngineError(
      "conflict",
      `Another engine works on "${options.paths.root}": stop it, or give this one another --root`,
    );
  }
  exemptLoopback();
  const engine = await createEngine(options);
  const server = await createServer({
    engine,
    socketPath,
    onInternalError: (error, request) => options.log("error", `${request}: ${error.stack ?? error.message}`),
  });
  options.log("info", `Listening on ${socketPath}`);
  await new Promise<void>((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
  });
  await server.close();
  await engine[Symbol.asyncDispose]();
  process.exit(0);
}
