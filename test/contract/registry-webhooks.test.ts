import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  FileAccess,
  readWebhooks,
  serveRegistry,
  type RegistryServer,
  type WebhookSettings,
} from "../../src/registry/index.ts";
import { smallImage } from "../support/oci-layout.ts";
import { manifestType, mustBe, pushBlob, pushImage, sendImage } from "../support/registry-calls.ts";
import { newScratch } from "../support/scratch.ts";
import { waitFor } from "../support/test-engine.ts";

interface Told {
  action: string;
  id: string;
  timestamp: string;
  target: Record<string, unknown>;
  request: Record<string, unknown>;
  actor: { name?: string };
  source: { addr: string; instanceID: string };
}

/** A place that is told; it answers with the statuses that it is given, and then with 200. */
function startPlace(): AsyncDisposable & {
  url: string;
  told: Told[];
  heads: Headers[];
  answers: number[];
  gate?: Promise<void>;
} {
  const place = { url: "", told: [] as Told[], heads: [] as Headers[], answers: [] as number[] };
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const { events } = (await request.json()) as { events: Told[] };
      const status = place.answers.shift() ?? 200;
      if (status === 0) {
        await Bun.sleep(5000);
        return new Response();
      }
      place.heads.push(request.headers);
      if (status === 200) place.told.push(...events);
      return new Response(null, { status });
    },
  });
  place.url = `${server.url.origin}/told`;
  return Object.assign(place, { [Symbol.asyncDispose]: () => server.stop(true) });
}

function hook(url: string, extra: Partial<WebhookSettings> = {}): WebhookSettings {
  return {
    name: "place",
    url,
    headers: {},
    timeoutMs: 2000,
    backoffMs: 10,
    actions: ["push", "pull", "mount", "delete"],
    kinds: ["manifest", "blob"],
    repositories: ["*"],
    ...extra,
  };
}

const image = smallImage("told");
const [config = "", layer = ""] = image.blobs.keys();

test("push, pull, mount and delete are told in distribution's envelope: target, request, actor, source", async () => {
  await using scratch = newScratch();
  await using place = startPlace();
  const users = join(scratch.path, "users");
  writeFileSync(users, `ann:${await Bun.password.hash("secret", { algorithm: "bcrypt", cost: 4 })}\n`);
  await using registry = await serveRegistry({
    root: join(scratch.path, "root"),
    access: new FileAccess({ htpasswdPath: users }),
    webhooks: [hook(place.url, { headers: { Authorization: "Bearer t" } })],
  });
  const headers = { Authorization: `Basic ${btoa("ann:secret")}`, "User-Agent": "a test" };
  const send = (path: string, options: RequestInit = {}): Promise<Response> =>
    fetch(`${registry.url}${path}`, {
      ...options,
      headers: { ...headers, ...(options.headers as Record<string, string>) },
    });
  await sendImage(send, "a/b", { image, tag: "v1" });
  await mustBe(200, await send("/v2/a/b/manifests/v1"));
  await mustBe(200, await send(`/v2/a/b/blobs/${layer}`));
  await mustBe(201, await send(`/v2/c/blobs/uploads/?mount=${layer}&from=a/b`, { method: "POST" }));
  await mustBe(202, await send("/v2/a/b/manifests/v1", { method: "DELETE" }));
  await mustBe(202, await send(`/v2/a/b/manifests/${image.manifestDigest}`, { method: "DELETE" }));
  await mustBe(202, await send(`/v2/a/b/blobs/${config}`, { method: "DELETE" }));
  await waitFor("all to be told", async () => place.told.length === 9);
  const base = { repository: "a/b" };
  const bytes = (digest: string): number => image.blobs.get(digest)?.length ?? 0;
  const blob = (digest: string, repository = "a/b"): object => ({
    repository,
    digest,
    size: bytes(digest),
    length: bytes(digest),
    mediaType: "application/octet-stream",
    url: `${registry.url}/v2/${repository}/blobs/${digest}`,
  });
  const manifest = {
    ...base,
    mediaType: manifestType,
    digest: image.manifestDigest,
    size: image.manifest.length,
    length: image.manifest.length,
    url: `${registry.url}/v2/a/b/manifests/${image.manifestDigest}`,
    tag: "v1",
  };
  expect(place.told.map(({ action, target }) => [action, target])).toEqual([
    ["push", blob(config)],
    ["push", blob(layer)],
    ["push", manifest],
    ["pull", manifest],
    ["pull", blob(layer)],
    ["mount", { ...blob(layer, "c"), fromRepository: "a/b" }],
    ["delete", { ...base, tag: "v1" }],
    ["delete", { ...base, digest: image.manifestDigest }],
    ["delete", { ...base, digest: config }],
  ] as never);
  const [, , pushed] = place.told;
  expect(pushed?.actor).toEqual({ name: "ann" });
  expect(pushed?.request).toMatchObject({ host: new URL(registry.url).host, method: "PUT", useragent: "a test" });
  expect(pushed?.request.addr).toMatch(/^127\.0\.0\.1:\d+$/);
  expect(Math.abs(Date.parse(pushed?.timestamp ?? "") - Date.now())).toBeLessThan(60_000);
  expect(new Set(place.told.map(({ id }) => id)).size).toBe(9);
  expect(place.heads[0]?.get("Content-Type")).toBe("application/vnd.docker.distribution.events.v2+json");
  expect(place.heads[0]?.get("Authorization")).toBe("Bearer t");
});

test("a place is told only of the actions, kinds and repositories that it wants", async () => {
  await using scratch = newScratch();
  await using place = startPlace();
  const path = join(scratch.path, "hooks.json");
  writeFileSync(path, JSON.stringify([{ name: "ci", url: place.url, repositories: ["team/*"] }]));
  await using registry = await serveRegistry({ root: join(scratch.path, "root"), webhooks: readWebhooks(path) });
  await pushImage(registry.url, "other", { image, tag: "v1" });
  await pushImage(registry.url, "team/app", { image, tag: "v1" });
  await mustBe(200, await fetch(`${registry.url}/v2/team/app/manifests/v1`));
  await mustBe(202, await fetch(`${registry.url}/v2/team/app/manifests/v1`, { method: "DELETE" }));
  await waitFor("both to be told", async () => place.told.length === 2);
  expect(
    place.told.map(({ action, target }) => `${action} ${String(target.repository)}:${String(target.tag)}`),
  ).toEqual(["push team/app:v1", "delete team/app:v1"]);
});

test("what fails is tried again in order, and a place that hangs is given up after its timeout; metrics count it", async () => {
  await using scratch = newScratch();
  await using place = startPlace();
  place.answers.push(500, 0, 429);
  await using registry = await serveRegistry({
    root: scratch.path,
    webhooks: [hook(place.url, { kinds: ["manifest"], timeoutMs: 200 })],
    metrics: true,
  });
  await pushImage(registry.url, "a", { image, tag: "v1" });
  await pushImage(registry.url, "a", { image, tag: "v2" });
  await waitFor("both to be told", async () => place.told.length === 2);
  expect(place.told.map(({ target }) => target.tag)).toEqual(["v1", "v2"] as never);
  const lines = async (): Promise<string[]> => (await (await fetch(`${registry.url}/metrics`)).text()).split("\n");
  const expected = [
    'vitrine_registry_webhook_queue{webhook="place"} 0',
    'vitrine_registry_webhook_events_total{webhook="place",outcome="delivered"} 2',
    'vitrine_registry_webhook_events_total{webhook="place",outcome="failed"} 3',
    'vitrine_registry_webhook_events_total{webhook="place",outcome="dropped"} 0',
  ];
  await waitFor("the metrics", async () => (await lines()).includes(expected[0] ?? ""));
  const seen = await lines();
  for (const line of expected) expect(seen).toContain(line);
});

test("an event that the place refuses is given up after three attempts, and the next one goes on", async () => {
  await using scratch = newScratch();
  await using place = startPlace();
  place.answers.push(400, 400, 400);
  await using registry = await serveRegistry({
    root: scratch.path,
    webhooks: [hook(place.url, { kinds: ["manifest"] })],
  });
  await pushImage(registry.url, "a", { image, tag: "v1" });
  await pushImage(registry.url, "a", { image, tag: "v2" });
  await waitFor("the second to be told", async () => place.told.length === 1);
  expect(place.told[0]?.target.tag).toBe("v2");
});

test("what was not delivered outlives the server, and a slow place delays no client", async () => {
  await using scratch = newScratch();
  await using place = startPlace();
  const down = hook("http://127.0.0.1:1/", { kinds: ["manifest"], backoffMs: 60_000 });
  const serve = (settings: WebhookSettings): Promise<RegistryServer> =>
    serveRegistry({ root: scratch.path, webhooks: [settings] });
  {
    await using registry = await serve(down);
    for (const tag of ["v1", "v2", "v3"]) await pushImage(registry.url, "a", { image, tag });
  }
  expect(place.told).toEqual([]);
  await using registry = await serve({ ...down, url: place.url });
  await waitFor("all three to be told", async () => place.told.length === 3);
  expect(place.told.map(({ target }) => target.tag)).toEqual(["v1", "v2", "v3"] as never);
  await mustBe(201, await pushBlob(registry.url, "a", new Uint8Array([1])));
});

test("the queue has a limit, at which the oldest goes, and what is a day old is given up", async () => {
  await using scratch = newScratch();
  await using place = startPlace();
  const down = hook("http://127.0.0.1:1/", { kinds: ["manifest"], backoffMs: 60_000 });
  await (await serveRegistry({ root: scratch.path, webhooks: [down] })).close();
  using db = new Database(join(scratch.path, "webhooks.db"));
  const put = db.query("INSERT INTO deliveries (hook, body, created_at) VALUES ('place', ?, ?)");
  db.transaction(() => {
    for (let n = 0; n < 10_000; n++) put.run(JSON.stringify({ events: [{ target: { tag: `t${n}` } }] }), Date.now());
  })();
  const queued = (): { count: number; first: number } =>
    db
      .query<{ count: number; first: number }, []>("SELECT count(*) AS count, min(id) AS first FROM deliveries")
      .get() ?? {
      count: 0,
      first: 0,
    };
  {
    await using registry = await serveRegistry({ root: scratch.path, webhooks: [down] });
    await pushImage(registry.url, "a", { image, tag: "newest" });
    expect(queued()).toEqual({ count: 10_000, first: 2 });
  }
  db.exec(
    `DELETE FROM deliveries WHERE id < 10000; UPDATE deliveries SET created_at = created_at - 90000000 WHERE id = 10000`,
  );
  place.answers.push(500);
  await using _registry = await serveRegistry({ root: scratch.path, webhooks: [{ ...down, url: place.url }] });
  await waitFor("the young one to be told", async () => place.told.length === 1);
  expect(place.told[0]?.target.tag).toBe("newest");
  await waitFor("the queue to be empty", async () => queued().count === 0);
});

test("a file of places that cannot be used is refused with the place of the fault", async () => {
  await using scratch = newScratch();
  const path = join(scratch.path, "hooks.json");
  const good = { name: "a", url: "http://127.0.0.1/" };
  const bad: readonly (readonly [unknown, string])[] = [
    ["no list", "is no list of objects"],
    [[{ ...good, name: "a b" }], "[0] is no short word"],
    [[{ ...good, url: "ftp://x" }], "is no http:// or https:// address"],
    [[{ ...good, retries: 3 }], '"retries" of'],
    [[{ ...good, actions: ["look"] }], '"look" in "actions"'],
    [[{ ...good, timeout: "5" }], 'missing unit in duration "5"'],
    [[{ ...good, headers: { "X Y": "z" } }], 'The header "X Y"'],
    [[{ ...good, repositories: ["A"] }], '"A" in "repositories"'],
    [[good, good], 'names "a" twice'],
  ];
  for (const [value, words] of bad) {
    writeFileSync(path, JSON.stringify(value));
    expect(() => readWebhooks(path)).toThrow(words);
  }
});
