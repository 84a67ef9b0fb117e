import { expect, test } from "bun:test";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { sha256, smallImage, type SmallImage } from "../support/oci-layout.ts";
import { mustBe, pushBlob, pushImage, putManifest } from "../support/registry-calls.ts";
import { newScratch } from "../support/scratch.ts";
import { waitFor } from "../support/test-engine.ts";

const main = join(import.meta.dir, "..", "..", "src", "main.ts");

interface RegistryProcess extends AsyncDisposable {
  readonly url: string;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  /** SIGTERM; the exit code. */
  stop(): Promise<number>;
}

async function startRegistry(root: string, ...options: string[]): Promise<RegistryProcess> {
  const command = [process.execPath, main, "registry", "serve", "--root", root, "--listen", "127.0.0.1:0", ...options];
  const child = Bun.spawn(command, { stdio: ["ignore", "ignore", "pipe"] });
  const reader = child.stderr.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`The registry ended: ${text}`);
    text += Buffer.from(value).toString();
  }
  const url = / on (http\S+)/.exec(text)?.[1] ?? "";
  const end = (signal: "SIGKILL" | "SIGTERM"): Promise<number> => {
    child.kill(signal);
    return child.exited;
  };
  const kill = async (): Promise<void> => void (await end("SIGKILL"));
  return { url, kill, stop: () => end("SIGTERM"), [Symbol.asyncDispose]: kill };
}

function files(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);
}

test("killed in the middle of an upload, the next one says how far it came, and the client goes on", async () => {
  await using scratch = newScratch();
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const first = await startRegistry(scratch.path);
  const begun = await fetch(`${first.url}/v2/a/blobs/uploads/`, { method: "POST" });
  const location = begun.headers.get("Location") ?? "";
  await mustBe(202, await fetch(`${first.url}${location}`, { method: "PATCH", body: bytes.slice(0, 20_000) }));
  // The rest is under way when the process dies: some of it is on the disk, or none.
  let feed: ReadableStreamDefaultController<Uint8Array> | undefined;
  const body = new ReadableStream<Uint8Array>({ start: (controller) => void (feed = controller) });
  const cut = fetch(`${first.url}${location}`, { method: "PATCH", body }).catch(() => undefined);
  feed?.enqueue(bytes.slice(20_000, 40_000));
  while ((await (await fetch(`${first.url}${location}`)).headers.get("Range")) === "0-19999") await Bun.sleep(2);
  await first.kill();
  await cut;
  await using second = await startRegistry(scratch.path);
  const [, last = ""] = /^0-(\d+)$/.exec((await fetch(`${second.url}${location}`)).headers.get("Range") ?? "") ?? [];
  const offset = Number(last) + 1;
  expect(offset).toBeGreaterThan(20_000);
  const rest = {
    method: "PATCH",
    body: bytes.slice(offset),
    headers: { "Content-Range": `${offset}-${bytes.length - 1}` },
  };
  await mustBe(202, await fetch(`${second.url}${location}`, rest));
  await mustBe(201, await fetch(`${second.url}${location}?digest=${sha256(bytes)}`, { method: "PUT" }));
  const blob = await fetch(`${second.url}/v2/a/blobs/${sha256(bytes)}`);
  expect(Buffer.from(await blob.arrayBuffer())).toEqual(Buffer.from(bytes));
  expect(await second.stop()).toBe(0);
  expect(files(join(scratch.path, "uploads"))).toEqual([]);
});

test("killed at any moment of pushes: what was answered with 201 is there, and nothing else stays", async () => {
  await using scratch = newScratch();
  const images = Array.from({ length: 40 }, (_, n) => smallImage(`image ${n}`));
  const taken = new Set<string>();
  for (const momentMs of [4, 9, 17]) {
    const registry = await startRegistry(scratch.path);
    const push = async (image: SmallImage): Promise<void> => {
      for (const bytes of image.blobs.values()) if ((await pushBlob(registry.url, "a", bytes)).status !== 201) return;
      const path = `a/manifests/${image.manifestDigest}`;
      if ((await putManifest(registry.url, path, { bytes: image.manifest })).status === 201)
        taken.add(image.manifestDigest);
    };
    const pushing = Promise.allSettled(images.map(push));
    await Bun.sleep(momentMs);
    await registry.kill();
    await pushing;
  }
  const command = [process.execPath, main, "registry", "serve", "--root", scratch.path, "--listen", "127.0.0.1:0"];
  await using registry = await startRegistry(scratch.path);
  for (const image of images.filter(({ manifestDigest }) => taken.has(manifestDigest))) {
    await mustBe(200, await fetch(`${registry.url}/v2/a/manifests/${image.manifestDigest}`));
    for (const [digest, bytes] of image.blobs) {
      const blob = await mustBe(200, await fetch(`${registry.url}/v2/a/blobs/${digest}`));
      expect(Buffer.from(await blob.arrayBuffer())).toEqual(Buffer.from(bytes));
    }
  }
  expect(Bun.spawnSync(command).stderr.toString()).toContain("Another registry works on");
  await registry.kill();
  await using clean = await startRegistry(scratch.path);
  await clean.stop();
  // Each file is a blob that has a record: the sweep of the start has gone over the rest.
  const { Database } = await import("bun:sqlite");
  using records = new Database(join(scratch.path, "registry.db"), { readonly: true });
  const recorded = records
    .query<{ digest: string }, []>("SELECT digest FROM blobs")
    .all()
    .map(({ digest }) => digest.slice(7));
  expect(files(join(scratch.path, "blobs")).sort()).toEqual(recorded.sort());
  const uploads = records
    .query<{ id: string }, []>("SELECT id FROM uploads")
    .all()
    .map(({ id }) => id);
  expect(files(join(scratch.path, "uploads")).filter((name) => !uploads.includes(name))).toEqual([]);
});

test("a cache that is killed while a blob comes keeps nothing of it, and the next one gets it whole", async () => {
  await using scratch = newScratch();
  const bytes = Buffer.alloc(8_000_000, crypto.randomUUID());
  const digest = sha256(bytes);
  // The upstream hangs after two of eight megabytes.
  const { promise: never, resolve: letGo } = Promise.withResolvers<void>();
  const front = createServer(async (request, response) => {
    if (request.url === "/v2/") return void response.end("{}");
    response.writeHead(200, { "Content-Length": bytes.length });
    response.write(bytes.subarray(0, 2_000_000));
    await never;
    response.destroy();
  });
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", () => resolve()));
  const address = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
  const uploads = join(scratch.path, "uploads");
  {
    const cache = await startRegistry(scratch.path, "--proxy", address);
    const cut = fetch(`${cache.url}/v2/team/app/blobs/${digest}`).then((answer) => answer.arrayBuffer());
    const isCut = cut.catch(() => "cut");
    while (!files(uploads).some((name) => statSync(join(uploads, name)).size >= 1_000_000)) await Bun.sleep(2);
    await cache.kill();
    expect(await isCut).toBe("cut");
  }
  letGo();
  front.closeAllConnections();
  front.removeAllListeners("request");
  front.on("request", (request, response) => {
    if (request.url === "/v2/") return void response.end("{}");
    response.writeHead(200, { "Content-Length": bytes.length }).end(bytes);
  });
  await using cache = await startRegistry(scratch.path, "--proxy", address);
  expect(files(uploads)).toEqual([]);
  const blob = await mustBe(200, await fetch(`${cache.url}/v2/team/app/blobs/${digest}`));
  expect(sha256(await blob.bytes())).toBe(digest);
  front.closeAllConnections();
  await new Promise<void>((resolve) => front.close(() => resolve()));
});

test("an event of a push that was answered is told although the server was killed", async () => {
  await using scratch = newScratch();
  const told: string[] = [];
  const state = { status: 503 };
  await using place = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const { events } = (await request.json()) as { events: { target: { tag: string } }[] };
      if (state.status === 200) told.push(...events.map(({ target }) => target.tag));
      return new Response(null, { status: state.status });
    },
  });
  const hooks = join(scratch.path, "hooks.json");
  writeFileSync(hooks, JSON.stringify([{ name: "ci", url: place.url.href, backoff: "20ms" }]));
  const root = join(scratch.path, "root");
  const first = await startRegistry(root, "--webhooks", hooks);
  for (const tag of ["v1", "v2"]) await pushImage(first.url, "a", { image: smallImage(tag), tag });
  await first.kill();
  state.status = 200;
  await using _second = await startRegistry(root, "--webhooks", hooks);
  await waitFor("both to be told", () => told.length === 2);
  expect(told).toEqual(["v1", "v2"]);
});

test("an empty address, half of TLS and an open door to other machines are refused in a sentence", () => {
  const run = (...args: string[]): [number, string] => {
    const child = Bun.spawnSync([process.execPath, main, "registry", ...args]);
    return [child.exitCode, child.stderr.toString().split("\n")[0] ?? ""];
  };
  expect(run("serve", "--listen", "5000")[0]).toBe(125);
  expect(run("serve", "--tls-cert", "x")).toEqual([125, "vitrine registry: --tls-cert and --tls-key belong together"]);
  expect(run("serve", "--listen", "0.0.0.0:0")[1]).toContain("give --htpasswd, or --anyone");
  expect(run("verify", "--listen", "127.0.0.1:1")).toEqual([125, "vitrine registry: --listen is no option of verify"]);
});
