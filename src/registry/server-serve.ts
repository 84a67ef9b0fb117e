import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../common/index.ts";
import { holdLock } from "../kernel/index.ts";
import { RegistryCache } from "./server-cache.ts";
import { collectGarbage, sweepStorage, type CollectionReport } from "./server-collection.ts";
import { RegistryFailure } from "./server-failure.ts";
import { Gate } from "./server-gate.ts";
import { RegistryMetrics } from "./server-metrics.ts";
import { defaultRegistryLimits, type RegistryLimits, type RegistryServerOptions } from "./server-options.ts";
import { RegistryRecords } from "./server-records.ts";
import type { Retired } from "./server-retention.ts";
import { route, type Connection, type RegistryServices } from "./server-route.ts";
import { Tokens } from "./server-tokens.ts";
import { Turns } from "./server-turns.ts";
import { Uploads } from "./server-uploads.ts";
import { Upstream } from "./server-upstream.ts";
import { Uses } from "./server-uses.ts";
import { Webhooks } from "./server-webhooks.ts";
import { FolderStorage } from "./storage-folder.ts";

/** A registry that serves. `port` is the one it got. */
export interface RegistryServer extends AsyncDisposable {
  readonly port: number;
  /** `http://127.0.0.1:5000`. */
  readonly url: string;
  /** Collects now what nobody needs. */
  collect(): Promise<CollectionReport>;
  /** Takes no more requests, lets those under way end (at most a few seconds), and gives everything back. */
  close(): Promise<void>;
}

const defaultCollectEveryMs = 600_000;
const closeLimitMs = 5000;
const closedByClient = 499;

/**
 * Serves a registry: the OCI distribution specification 1.1, from one folder.
 *
 *     const registry = await serveRegistry({ root: "/tmp/r" });      // anyone may pull and push on a free port of 127.0.0.1
 *     … `localhost:${registry.port}/name:tag` …
 *     await registry.close();
 *
 * Throws `conflict` when another server works on the root or the storage is another registry's, `unavailable` when the address cannot be had.
 */
export async function serveRegistry(options: RegistryServerOptions): Promise<RegistryServer> {
  const log = options.log ?? (() => {});
  const limits: RegistryLimits = { ...defaultRegistryLimits, ...options.limits };
  await using undo = new AsyncDisposableStack();
  const services = openServices(options, limits, undo);
  claimUpstream(services.records, options);
  await claimStorage(services);
  const server = listen(options, services, log);
  undo.defer(() => server.stop(true));
  const { collect, stop } = startCollection(options, services, log);
  undo.defer(stop);
  const opened = undo.move();
  const close = async (): Promise<void> => {
    await Promise.race([server.stop(), Bun.sleep(closeLimitMs)]);
    await opened.disposeAsync();
  };
  const port = server.port ?? 0;
  const scheme = options.tls ? "https" : "http";
  const url = `${scheme}://${server.hostname?.includes(":") ? `[${server.hostname}]` : server.hostname}:${port}`;
  return { port, url, collect, close, [Symbol.asyncDispose]: close };
}

function openServices(
  options: RegistryServerOptions,
  limits: RegistryLimits,
  undo: AsyncDisposableStack,
): RegistryServices {
  const { root } = options;
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const lock = holdLock(join(root, "registry.lock"));
  if (!lock) {
    throw new EngineError("conflict", `Another registry works on "${root}": stop it, or give this one another root`);
  }
  undo.use(lock);
  const records = undo.use(new RegistryRecords(join(root, "registry.db")));
  const storage = options.storage ?? new FolderStorage(join(root, "blobs"));
  const digests = new Turns();
  const uploads = new Uploads({ folder: join(root, "uploads"), records, storage, limits, digests });
  const policy = options.access;
  const scheme = options.tls ? "https" : "http";
  const gate = policy ? new Gate({ policy, tokens: new Tokens(root), scheme }) : undefined;
  const log = options.log ?? (() => {});
  const webhooks = openWebhooks(options, log);
  if (webhooks) undo.use(webhooks);
  const shared = { records, storage, digests, limits, log };
  const upstream = options.upstream && new Upstream(options.upstream);
  const cache = upstream && new RegistryCache({ ...shared, upstream, folder: join(root, "uploads") });
  if (cache) undo.use(cache);
  return {
    ...shared,
    uploads,
    gate,
    uses: undo.use(new Uses(records)),
    webhooks,
    cache,
    keepsEverything: options.keepEverything ?? false,
    immutableTags: options.immutableTags ?? false,
    metrics: options.metrics ? new RegistryMetrics(records, { webhooks, cache }) : undefined,
  };
}

function openWebhooks(
  { root, webhooks: hooks = [], hostname = "127.0.0.1", port = 0 }: RegistryServerOptions,
  log: NonNullable<RegistryServerOptions["log"]>,
): Webhooks | undefined {
  if (hooks.length === 0) return undefined;
  return new Webhooks({ path: join(root, "webhooks.db"), hooks, address: `${hostname}:${port}`, log });
}

/** A root is a cache of one registry, or of none: what was pushed must not expire, and what is cached must not be taken for pushed. */
function claimUpstream(records: RegistryRecords, { root, upstream }: RegistryServerOptions): void {
  const known = records.upstream();
  if (known === upstream?.url) return;
  if (known !== undefined)
    throw new EngineError("conflict", `"${root}" is a cache of "${known}": give this registry another root`);
  if (records.wasClaimed())
    throw new EngineError("conflict", `"${root}" holds images that were pushed: give the cache another root`);
  if (upstream) records.setUpstream(upstream.url);
}

/**
 * A storage belongs to one root, which sweeps from it what it does not know. Records that are new beside a storage that is not are
 * a mistake (another registry's bucket, a lost root), and sweeping would then take every image away.
 */
async function claimStorage({ records, storage }: RegistryServices): Promise<void> {
  if (records.wasClaimed()) return;
  for await (const digest of storage.digests()) {
    const message = `The ${storage.description} holds blobs of another registry, such as "${digest}": give this root an empty one`;
    throw new EngineError("conflict", message);
  }
  records.claim();
}

function listen(
  options: RegistryServerOptions,
  services: RegistryServices,
  log: NonNullable<RegistryServerOptions["log"]>,
): Bun.Server<undefined> {
  const { tls, hostname = "127.0.0.1", port = 0 } = options;
  try {
    return Bun.serve({
      hostname,
      port,
      // Else Bun prints a stack of each stream that breaks off, beside our log.
      development: false,
      ...(tls ? { tls: { cert: tls.certificate, key: tls.key } } : {}),
      idleTimeout: Math.ceil(services.limits.idleMs / 1000),
      // The limits are ours, and bodies are streams: Bun's own limit would refuse whole layers.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch: async (request, server) => {
        const startedAt = performance.now();
        const connection: Connection = {
          unhurried: () => server.timeout(request, 0),
          address: () => addressOf(server.requestIP(request)),
        };
        const response = await answer(request, services, { log, connection });
        const durationMs = performance.now() - startedAt;
        services.metrics?.count({ method: request.method, status: response.status, durationMs });
        response.headers.set("Docker-Distribution-Api-Version", "registry/2.0");
        return response;
      },
    });
  } catch (error) {
    const message = `Cannot listen on ${hostname}:${port}: ${(error as Error).message}`;
    throw new EngineError("unavailable", message, { cause: error });
  }
}

function addressOf(peer: { address: string; port: number } | null): string | undefined {
  if (!peer) return undefined;
  return peer.address.includes(":") ? `[${peer.address}]:${peer.port}` : `${peer.address}:${peer.port}`;
}

async function answer(
  request: Request,
  services: RegistryServices,
  { log, connection }: { log: NonNullable<RegistryServerOptions["log"]>; connection: Connection },
): Promise<Response> {
  try {
    return await route(request, services, connection);
  } catch (error) {
    if (error instanceof RegistryFailure) return error.toResponse(request.method);
    if (request.signal.aborted) return new Response(null, { status: closedByClient });
    log("error", `${request.method} ${new URL(request.url).pathname}: ${(error as Error).stack ?? String(error)}`);
    return ownFault((error as { code?: string }).code).toResponse(request.method);
  }
}

/** What a client is told of a fault that is not its own: whether trying again may help, and nothing of the inside. */
function ownFault(code: string | undefined): RegistryFailure {
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new RegistryFailure("UNKNOWN", "The registry's disk is full", { status: 507 });
  }
  if (code === "unavailable") {
    const headers = { "Retry-After": "10" };
    return new RegistryFailure("UNKNOWN", "The registry's storage does not answer", { status: 503, headers });
  }
  return new RegistryFailure("UNKNOWN", "The registry failed; its log says why");
}

/** Collects every so often, one run at a time, and first sweeps what a killed server left. */
function startCollection(
  options: RegistryServerOptions,
  services: RegistryServices,
  log: NonNullable<RegistryServerOptions["log"]>,
): { collect: () => Promise<CollectionReport>; stop: () => Promise<void> } {
  const turns = new Turns();
  const { retention = [], upstream } = options;
  const whenRetired = ({ repository, digest, tag, why }: Retired): void => {
    log("info", `Retention: ${repository}${tag === undefined ? `@${digest}` : `:${tag}`} goes: ${why}`);
    const named = tag === undefined ? { digest } : { tag };
    services.webhooks?.tell({ action: "delete", kind: "manifest", repository, ...named }, { actor: "retention" });
  };
  const collect = (): Promise<CollectionReport> =>
    turns.run("collect", async () => {
      services.uses.write();
      return collectGarbage({ ...services, retention, ttlMs: upstream?.ttlMs, whenRetired });
    });
  const quietly = (work: () => Promise<unknown>): void => {
    void work().catch((error: unknown) => log("error", `Collecting failed: ${(error as Error).message}`));
  };
  quietly(() => turns.run("collect", () => sweepStorage(services)));
  const everyMs = options.collectEveryMs ?? defaultCollectEveryMs;
  const timer = everyMs > 0 ? setInterval(() => quietly(collect), everyMs) : undefined;
  timer?.unref();
  const stop = async (): Promise<void> => {
    clearInterval(timer);
    await turns.run("collect", async () => {});
  };
  return { collect, stop };
}
