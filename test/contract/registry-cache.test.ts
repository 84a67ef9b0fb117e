// A registry that is a cache of another one. The upstream is the fixture, which counts requests and breaks as it is told.
import { expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  S3Storage,
  serveRegistry,
  verifyRegistry,
  type RegistryServer,
  type RegistryServerOptions,
} from "../../src/registry/index.ts";
import { sha256, smallImage, type SmallImage } from "../support/oci-layout.ts";
import { errorCode, manifestType, mustBe } from "../support/registry-calls.ts";
import { RegistryFixture } from "../support/registry-fixture.ts";
import { s3Keys, startS3 } from "../support/s3-server.ts";
import { newScratch } from "../support/scratch.ts";
import { waitFor } from "../support/test-engine.ts";

const main = join(import.meta.dir, "..", "..", "src", "main.ts");
const weekMs = 7 * 86_400_000;

function fill(upstream: RegistryFixture, image: SmallImage, tag = "v1"): void {
  for (const bytes of image.blobs.values()) upstream.putBlob("team/app", bytes);
  upstream.putManifest("team/app", tag, { bytes: image.manifest, mediaType: manifestType });
}

function serveCache(
  root: string,
  upstream: RegistryFixture,
  options: Partial<RegistryServerOptions> & { ttlMs?: number } = {},
): Promise<RegistryServer> {
  const { ttlMs = weekMs, ...rest } = options;
  return serveRegistry({ root, upstream: { url: `http://${upstream.host}`, ttlMs }, collectEveryMs: 0, ...rest });
}

const get = (cache: RegistryServer, path: string, init?: RequestInit): Promise<Response> =>
  fetch(`${cache.url}/v2/team/app/${path}`, init);

async function pull(cache: RegistryServer, image: SmallImage): Promise<void> {
  const manifest = await mustBe(200, await get(cache, "manifests/v1"));
  expect(Buffer.from(await manifest.arrayBuffer())).toEqual(Buffer.from(image.manifest));
  for (const [digest, bytes] of image.blobs) {
    const blob = await mustBe(200, await get(cache, `blobs/${digest}`));
    expect(Buffer.from(await blob.arrayBuffer())).toEqual(Buffer.from(bytes));
  }
}

test("manifests and blobs come from the upstream once; a tag is asked for each time; what is cached is served when the upstream is gone", async () => {
  await using scratch = newScratch();
  const upstream = await RegistryFixture.start();
  const image = smallImage("cached");
  fill(upstream, image);
  await using cache = await serveCache(scratch.path, upstream, { metrics: true });
  await pull(cache, image);
  await pull(cache, image);
  for (const digest of image.blobs.keys()) expect(upstream.count(new RegExp(`^GET .*${digest}`))).toBe(1);
  expect(upstream.count(/^GET .*manifests/)).toBe(1);
  expect(upstream.count(/^HEAD .*manifests\/v1/)).toBe(1);
  expect((await get(cache, `manifests/${image.manifestDigest}`)).status).toBe(200);
  expect((await verifyRegistry({ root: scratch.path })).problems).toEqual([]);
  await upstream[Symbol.asyncDispose]();
  await pull(cache, image);
  expect(((await (await get(cache, "tags/list")).json()) as { tags: string[] }).tags).toEqual(["v1"]);
  const metrics = await (await fetch(`${cache.url}/metrics`)).text();
  // Each pull asks for a manifest and two blobs.
  for (const [outcome, count] of [
    ["hit", 6],
    ["miss", 3],
    ["stale", 1],
  ] as const)
    expect(metrics).toContain(`vitrine_registry_cache_answers_total{outcome="${outcome}"} ${count}\n`);
  const other = await get(cache, "manifests/v2");
  expect([other.status, await errorCode(other)]).toEqual([502, "UNKNOWN"]);
  expect((await get(cache, `blobs/${sha256(Buffer.from("other"))}`)).status).toBe(502);
}, 30_000);

test("a tag that moved upstream moves here, one that went is gone, and what was never there is 404", async () => {
  await using scratch = newScratch();
  await using upstream = await RegistryFixture.start();
  await using cache = await serveCache(scratch.path, upstream);
  const [one, two] = [smallImage("one"), smallImage("two")];
  fill(upstream, one);
  await pull(cache, one);
  fill(upstream, two);
  await pull(cache, two);
  upstream.manifests.delete("team/app/manifests/v1");
  for (const method of ["GET", "HEAD"]) expect((await get(cache, "manifests/v1", { method })).status).toBe(404);
  expect((await get(cache, `manifests/${one.manifestDigest}`)).status).toBe(200);
  expect(await errorCode(await get(cache, `blobs/${sha256(Buffer.from("x"))}`))).toBe("BLOB_UNKNOWN");
  fill(upstream, one, "w");
  expect(await (await get(cache, "tags/list?n=5")).json()).toEqual({ name: "team/app", tags: ["w"] } as never);
});

test("what would change something is refused by name, and so are options and roots of a registry that is pushed to", async () => {
  await using scratch = newScratch();
  await using upstream = await RegistryFixture.start();
  const root = join(scratch.path, "cache");
  {
    await using cache = await serveCache(root, upstream);
    for (const [method, path] of [
      ["POST", "blobs/uploads/"],
      ["PUT", "manifests/v1"],
      ["DELETE", "manifests/v1"],
      ["DELETE", `blobs/${sha256(Buffer.from("x"))}`],
    ] as const) {
      const answer = await get(cache, path, { method });
      expect([answer.status, answer.headers.get("Allow"), await errorCode(answer)]).toEqual([
        405,
        "GET, HEAD",
        "UNSUPPORTED",
      ]);
    }
  }
  await expect(serveRegistry({ root })).rejects.toThrow("is a cache of");
  const pushed = join(scratch.path, "pushed");
  await (await serveRegistry({ root: pushed })).close();
  await expect(serveCache(pushed, upstream)).rejects.toThrow("holds images that were pushed");
  for (const [words, reason] of [
    [["--quota", "1g"], "--quota is for a registry that is pushed to"],
    [["--immutable-tags"], "--immutable-tags is for a registry that is pushed to"],
    [["--proxy-ttl", "soon"], 'time: invalid duration "soon"'],
    [["--proxy-user", "ann"], "--proxy-user and --proxy-password-file belong together"],
  ] as const) {
    const child = Bun.spawnSync([
      process.execPath,
      main,
      "registry",
      "serve",
      "--proxy",
      "https://r.example",
      ...words,
    ]);
    expect([child.exitCode, child.stderr.toString()]).toEqual([125, expect.stringContaining(reason)] as never);
  }
});

test("clients of one blob share one fetch, and each gets bytes while it is still coming", async () => {
  await using scratch = newScratch();
  await using upstream = await RegistryFixture.start();
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const digest = upstream.putBlob("team/app", bytes);
  const { promise, resolve } = Promise.withResolvers<void>();
  upstream.faults.gate = promise;
  await using cache = await serveCache(scratch.path, upstream);
  const clients = Array.from({ length: 6 }, (_, n) =>
    get(cache, `blobs/${digest}`, n === 5 ? { headers: { Range: "bytes=1000-1999" } } : {}),
  );
  await waitFor("the upstream to be asked", async () => upstream.count(/^GET .*blobs/) > 0);
  resolve();
  const answers = await Promise.all(clients);
  const bodies = await Promise.all(answers.map(async (answer) => Buffer.from(await answer.arrayBuffer())));
  for (const body of bodies.slice(0, 5)) expect(body).toEqual(Buffer.from(bytes));
  expect(bodies[5]).toEqual(Buffer.from(bytes.subarray(1000, 2000)));
  expect(answers[5]?.headers.get("Content-Range")).toBe("bytes 1000-1999/60000");
  expect(upstream.count(/^GET .*blobs/)).toBe(1);
});

test("bytes go to the client before the last has come, a cut upstream is taken up where it broke, and a client that leaves stops nothing", async () => {
  await using scratch = newScratch();
  const bytes = new Uint8Array(Buffer.alloc(4_000_000, crypto.randomUUID()));
  const digest = sha256(bytes);
  const { promise: half, resolve: goOn } = Promise.withResolvers<void>();
  await using slow = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => {
      const body = new ReadableStream({
        type: "direct",
        async pull(controller: ReadableStreamDirectController) {
          await controller.write(bytes.subarray(0, 2_000_000));
          await controller.flush();
          await half;
          await controller.write(bytes.subarray(2_000_000));
          controller.close();
        },
      } as never);
      return new Response(body, { headers: { "X-Length": String(bytes.length) } });
    },
  });
  // Bun leaves Content-Length out of streams: a line of netcat would do, so the head is written by hand.
  await using front = await lengthFront(slow.url.origin, bytes.length);
  await using cache = await serveRegistry({
    root: scratch.path,
    upstream: { url: front.url, ttlMs: weekMs },
    collectEveryMs: 0,
  });
  const leaving = new AbortController();
  const first = await get(cache, `blobs/${digest}`, { signal: leaving.signal });
  const reader = first.body?.getReader();
  const begun = await reader?.read();
  expect(Buffer.from(begun?.value ?? []).equals(Buffer.from(bytes.subarray(0, begun?.value?.length)))).toBe(true);
  leaving.abort();
  goOn();
  await waitFor("the blob to be stored", async () => readdirSync(join(scratch.path, "uploads")).length === 0);
  await slow.stop(true);
  const second = await mustBe(200, await get(cache, `blobs/${digest}`));
  expect(sha256(await second.bytes())).toBe(digest);
});

test("a connection that the upstream cuts is taken up by range", async () => {
  await using scratch = newScratch();
  await using upstream = await RegistryFixture.start();
  const bytes = Buffer.alloc(6_000_000, crypto.randomUUID());
  const digest = upstream.putBlob("team/app", bytes);
  upstream.faults.cuts.push(2_000_000, 1_000_000);
  await using cache = await serveCache(scratch.path, upstream);
  const answer = await mustBe(200, await get(cache, `blobs/${digest}`));
  expect(sha256(await answer.bytes())).toBe(digest);
  expect(upstream.seen.filter(({ range }) => Number(range?.slice(6, -1)) > 100_000).length).toBe(2);
});

test("wrong bytes of the upstream are never given whole, nor kept", async () => {
  for (const size of [50_000, 3_000_000]) {
    await using scratch = newScratch();
    await using upstream = await RegistryFixture.start();
    const bytes = Buffer.alloc(size, crypto.randomUUID());
    const digest = upstream.putBlob("team/app", bytes);
    upstream.faults.spoilt.set(digest, bytes.toReversed());
    await using cache = await serveCache(scratch.path, upstream);
    const file = join(scratch.path, "got");
    const curl = Bun.spawn(["curl", "-sf", "-o", file, `${cache.url}/v2/team/app/blobs/${digest}`]);
    // 18: the transfer ended early; 22: a status over 400; 56: the connection was reset.
    expect(size > 1024 ** 2 ? [18, 56] : [22]).toContain(await curl.exited);
    expect(Bun.file(file).size).toBeLessThan(bytes.length);
    upstream.faults.spoilt.clear();
    const again = await mustBe(200, await get(cache, `blobs/${digest}`));
    expect(sha256(await again.bytes())).toBe(digest);
  }
});

test("what cannot be kept, since the object store is down, is given all the same", async () => {
  await using scratch = newScratch();
  await using upstream = await RegistryFixture.start();
  await using store = startS3("c");
  const bytes = Buffer.alloc(3_000_000, crypto.randomUUID());
  const digest = upstream.putBlob("team/app", bytes);
  const storage = new S3Storage({ endpoint: store.endpoint, bucket: "c", prefix: "", ...s3Keys });
  const said: string[] = [];
  const log = (_: string, message: string): void => void said.push(message);
  await using cache = await serveCache(scratch.path, upstream, { storage, log });
  store.isDown = true;
  const answer = await mustBe(200, await get(cache, `blobs/${digest}`));
  expect(sha256(await answer.bytes())).toBe(digest);
  expect(said.join("\n")).toContain(`"${digest}" of "team/app" cannot be kept`);
  expect(readdirSync(join(scratch.path, "uploads"))).toEqual([]);
  store.isDown = false;
  await mustBe(200, await get(cache, `blobs/${digest}`)).then((again) => again.bytes());
  expect([...store.objects.keys()]).toEqual([digest.replace(":", "/")]);
}, 30_000);

test("what nobody asked for during the time to live goes, and comes again when it is wanted", async () => {
  await using scratch = newScratch();
  await using upstream = await RegistryFixture.start();
  const image = smallImage("expiring");
  fill(upstream, image);
  {
    await using cache = await serveCache(scratch.path, upstream);
    await pull(cache, image);
    expect(await cache.collect()).toMatchObject({ manifestsDeleted: 0, linksDropped: 0, blobsDeleted: 0 });
  }
  await using cache = await serveCache(scratch.path, upstream, { ttlMs: -1000 });
  expect(await cache.collect()).toMatchObject({ manifestsDeleted: 1, linksDropped: 2, blobsDeleted: 2 });
  await pull(cache, image);
  for (const digest of image.blobs.keys()) expect(upstream.count(new RegExp(`^GET .*${digest}`))).toBe(2);
});

test("the cache logs in with its own user, tokens too, and its own users are its own", async () => {
  for (const kind of ["basic", "token"] as const) {
    await using scratch = newScratch();
    await using upstream = await RegistryFixture.start({ kind, user: "ann", password: "secret" });
    const image = smallImage(kind);
    fill(upstream, image);
    const url = `http://${upstream.host}`;
    const upstreamOptions = { url, ttlMs: weekMs, credentials: { username: "ann", password: "secret" } };
    await using cache = await serveRegistry({ root: scratch.path, upstream: upstreamOptions, collectEveryMs: 0 });
    await pull(cache, image);
  }
});

test("the command serves a cache, with the password in a file, and its log has a line of each failure and nothing else", async () => {
  await using scratch = newScratch();
  await using upstream = await RegistryFixture.start({ kind: "basic", user: "ann", password: "secret" });
  const image = smallImage("command");
  fill(upstream, image);
  writeFileSync(join(scratch.path, "password"), "secret\n");
  const own = ["--root", join(scratch.path, "root"), "--listen", "127.0.0.1:0", "--proxy", `http://${upstream.host}`];
  const login = ["--proxy-user", "ann", "--proxy-password-file", join(scratch.path, "password"), "--proxy-ttl", "24h"];
  const child = Bun.spawn([process.execPath, main, "registry", "serve", ...own, ...login], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  try {
    const log = child.stderr.getReader();
    const line = async (): Promise<string> => Buffer.from((await log.read()).value ?? []).toString();
    const url = / on (http\S+)/.exec(await line())?.[1] ?? "";
    const answer = await mustBe(200, await fetch(`${url}/v2/team/app/manifests/v1`));
    expect(answer.headers.get("Docker-Content-Digest")).toBe(image.manifestDigest);
    const bytes = Buffer.alloc(3_000_000, 7);
    const digest = upstream.putBlob("team/app", bytes);
    upstream.faults.spoilt.set(digest, Buffer.alloc(bytes.length, 8));
    const curl = Bun.spawn(["curl", "-s", "-o", "/dev/null", `${url}/v2/team/app/blobs/${digest}`]);
    expect([18, 56]).toContain(await curl.exited);
    child.kill();
    let rest = "";
    for (let next = await line(); next !== ""; next = await line()) rest += next;
    expect(rest).toMatch(/^\S+ error "sha256:\w{64}" of "team\/app" did not come from [^\n]+\n(\S+ info [^\n]+\n)*$/);
  } finally {
    child.kill();
    await child.exited;
  }
});

/** Passes the body on with a Content-Length, as registries send it. */
async function lengthFront(origin: string, length: number): Promise<AsyncDisposable & { url: string }> {
  const { createServer } = await import("node:http");
  const server = createServer(async (request, response) => {
    if (request.url === "/v2/") return void response.end("{}");
    response.writeHead(200, { "Content-Length": length });
    for await (const chunk of (await fetch(origin)).body ?? []) response.write(chunk);
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
