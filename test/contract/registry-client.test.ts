import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { defaultRegistrySettings, type Credentials } from "../../src/registry/index.ts";
import { mediaTypes } from "../../src/spec/index.ts";
import { collectMessages, openImages, sha256, tarOf, type ImageFixture } from "../support/image-fixture.ts";
import { publish, publishIndex, twoLayers } from "../support/published-image.ts";
import { RegistryFixture } from "../support/registry-fixture.ts";
import { newScratch } from "../support/scratch.ts";

const settings = defaultRegistrySettings;

function pull(fixture: ImageFixture, name: string, credentials?: { username: string; password: string }) {
  return collectMessages(fixture.images.pull(name, { settings, credentials }));
}

function push(fixture: ImageFixture, name: string, credentials?: Credentials) {
  return collectMessages(fixture.images.push(name, { settings, credentials }));
}

const remove = { force: true, noPrune: false, usedBy: () => [] };

function expectNothing(fixture: ImageFixture, folder: string): void {
  expect([...fixture.images.list(), ...fixture.snapshots.layers(), ...fixture.content.digests()]).toEqual([]);
  expect(readdirSync(join(folder, "root/content/incoming"))).toEqual([]);
}

async function failure(work: Promise<unknown>): Promise<Error & { code?: string }> {
  return work.then(
    () => Promise.reject(new Error("It did not fail")),
    (error: Error) => error,
  );
}

describe("an image that travels", () => {
  for (const [kind, compression] of [
    ["docker", "gzip"],
    ["oci", "gzip"],
    ["oci", "zstd"],
    ["oci", "none"],
    ["docker", "none"],
  ] as const) {
    test(`is the same after a pull and a push: ${kind}, ${compression}`, async () => {
      await using scratch = newScratch();
      await using from = await RegistryFixture.start();
      await using to = await RegistryFixture.start();
      using fixture = openImages(scratch.path);
      const published = await publish(from, { kind, compression });
      const messages = await pull(fixture, `${from.host}/app:v1`);
      expect(messages.at(0)).toEqual({ status: "Pulling from app", id: "v1" });
      expect(messages.slice(-2).map(({ status }) => status)).toEqual([
        `Digest: ${published.digest}`,
        `Status: Downloaded newer image for ${from.host}/app:v1`,
      ]);
      const image = fixture.images.get(`${from.host}/app:v1`);
      expect(image.id).toBe(published.id);
      expect(image.repoDigests).toEqual([`${from.host}/app@${published.digest}`]);
      await fixture.images.tag(image.id, { repository: `${to.host}/other`, tag: "v2" });
      const pushed = await push(fixture, `${to.host}/other:v2`);
      const sizeBytes = from.manifests.get("app/manifests/v1")?.bytes.length;
      expect(pushed.at(-2)).toEqual({ status: `v2: digest: ${published.digest} size: ${sizeBytes}` });
      for (const blob of [published.config, ...published.blobs]) expect(to.blobs.get(sha256(blob))).toEqual(blob);
      expect(to.manifests.get("other/manifests/v2")).toEqual(from.manifests.get("app/manifests/v1"));
    });
  }

  test("is up to date when it is pulled again, and no layer is asked for", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    await publish(registry);
    await pull(fixture, `${registry.host}/app:v1`);
    const before = registry.count(/GET .*blobs/);
    const messages = await pull(fixture, `${registry.host}/app:v1`);
    expect(messages.filter(({ status }) => status === "Already exists").length).toBe(2);
    expect(messages.at(-1)?.status).toBe(`Status: Image is up to date for ${registry.host}/app:v1`);
    expect(registry.count(/GET .*blobs/)).toBe(before);
  });

  test("of several platforms is chosen, and its index's digest is the name", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const mine = await publish(registry, {
      tag: "a",
      config: { architecture: process.arch === "arm64" ? "arm64" : "amd64" },
    });
    const other = await publish(registry, { tag: "b", config: { architecture: "s390x" } });
    const digest = publishIndex(registry, {
      tag: "multi",
      entries: [
        { digest: other.digest, architecture: "s390x" },
        { digest: mine.digest, architecture: process.arch === "arm64" ? "arm64" : "amd64" },
      ],
    });
    await pull(fixture, `${registry.host}/app:multi`);
    expect(fixture.images.get(`${registry.host}/app:multi`).id).toBe(mine.id);
    expect(fixture.images.get(`${registry.host}/app@${digest}`).id).toBe(mine.id);
    const platform = { os: "linux", architecture: "s390x" };
    await collectMessages(fixture.images.pull(`${registry.host}/app:multi`, { settings, platform }));
    expect(fixture.images.get(`${registry.host}/app:multi`).id).toBe(mine.id);
    expect(fixture.images.getFor(`${registry.host}/app:multi`, platform).id).toBe(other.id);
    const none = fixture.images.pull(`${registry.host}/app:multi`, {
      settings,
      platform: { os: "linux", architecture: "mips" },
    });
    expect((await failure(collectMessages(none))).message).toBe(
      "no matching manifest for linux/mips in the manifest list entries",
    );
  });

  test("made here is compressed once: the second push finds all there, the third mounts it", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    await collectMessages(fixture.images.fromHost(`${registry.host}/made:v1`, ["true"]));
    const { id } = fixture.images.get(`${registry.host}/made:v1`);
    const first = await push(fixture, `${registry.host}/made:v1`);
    expect(first.filter(({ status }) => status === "Pushed").length).toBe(1);
    const again = await push(fixture, `${registry.host}/made:v1`);
    expect(again.filter(({ status }) => status === "Layer already exists").length).toBe(1);
    expect(again.at(-1)).toEqual(first.at(-1) as object);
    await fixture.images.tag(id, { repository: `${registry.host}/else/where`, tag: "v1" });
    const mounted = await push(fixture, `${registry.host}/else/where:v1`);
    expect(mounted.filter(({ status }) => status === "Mounted from made").length).toBe(1);
    await using elsewhere = newScratch();
    using other = openImages(elsewhere.path);
    await pull(other, `${registry.host}/else/where:v1`);
    expect(other.images.get(`${registry.host}/else/where:v1`).id).toBe(id);
  });

  test("goes whole when it is removed", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const { id } = await publish(registry);
    await pull(fixture, `${registry.host}/app:v1`);
    await fixture.images.remove(id, remove);
    await fixture.images.collect();
    expectNothing(fixture, scratch.path);
  });
});

describe("who may", () => {
  const user = { username: "ann", password: "secret" };

  for (const kind of ["basic", "token"] as const) {
    test(`pulls and pushes with a password, ${kind}, and not without`, async () => {
      await using scratch = newScratch();
      // A token ends at once while it says that it lasts an hour: it is asked for again.
      await using registry = await RegistryFixture.start({
        kind,
        user: "ann",
        password: "secret",
        lifetimeSeconds: 0.2,
      });
      using fixture = openImages(scratch.path);
      const { id } = await publish(registry);
      const refused = await failure(pull(fixture, `${registry.host}/app:v1`));
      expect(refused.message).toContain(kind === "basic" ? "no basic auth credentials" : "pull access denied for");
      const wrong = await failure(pull(fixture, `${registry.host}/app:v1`, { ...user, password: "wrong" }));
      expect(wrong.message).toMatch(/unauthorized: (authentication required|incorrect username or password)/);
      expectNothing(fixture, scratch.path);
      await pull(fixture, `${registry.host}/app:v1`, user);
      await fixture.images.tag(id, { repository: `${registry.host}/copy`, tag: "v1" });
      await push(fixture, `${registry.host}/copy:v1`, user);
      expect(registry.manifests.has("copy/manifests/v1")).toBe(true);
    });
  }

  test("pushes and who not is told in docker's words, though an answer to HEAD has none", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const { id } = await publish(registry);
    await pull(fixture, `${registry.host}/app:v1`);
    await fixture.images.tag(id, { repository: `${registry.host}/other`, tag: "v1" });
    const bearer = (error: string) => ({ "WWW-Authenticate": `Bearer realm="none"${error}` });
    const anonymous = { username: "", password: "", registryToken: "shown" };
    const refusals = [
      [401, bearer(""), "unauthorized: authentication required"],
      [401, bearer(',error="invalid_token"'), "unauthorized: authentication required"],
      [401, bearer(',error="insufficient_scope"'), "denied: requested access to the resource is denied"],
      [403, {}, "denied: requested access to the resource is denied"],
    ] as const;
    for (const [status, headers, words] of refusals) {
      registry.faults.answers = Array.from({ length: 20 }, () => ({ status, headers }));
      expect((await failure(push(fixture, `${registry.host}/other:v1`, anonymous))).message).toBe(words);
    }
  });

  test("is not told to another host that blobs are redirected to", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start({ kind: "basic", user: "ann", password: "secret" });
    await using storage = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const { id, config, blobs } = await publish(registry);
    for (const blob of [config, ...blobs]) storage.putBlob("app", blob);
    registry.faults.redirectTo = `http://${storage.host}`;
    await pull(fixture, `${registry.host}/app:v1`, user);
    expect(fixture.images.get(id).id).toBe(id);
    expect(storage.seen.length).toBe(3);
    expect(storage.seen.map(({ authorization }) => authorization)).toEqual([undefined, undefined, undefined]);
  });
});

describe("a registry that fails", () => {
  test("is asked again after 429 and 503, and when it says so", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const { id } = await publish(registry);
    registry.faults.answers.push({ status: 429, headers: { "Retry-After": "1" } }, { status: 503 });
    const started = Date.now();
    await pull(fixture, `${registry.host}/app:v1`);
    expect(Date.now() - started).toBeGreaterThanOrEqual(1000);
    expect(fixture.images.get(id).id).toBe(id);
  });

  for (const ranges of [true, false]) {
    test(`in the middle of a blob is asked for the rest, ${ranges ? "by range" : "though it knows no ranges"}`, async () => {
      await using scratch = newScratch();
      await using registry = await RegistryFixture.start();
      using fixture = openImages(scratch.path);
      const large = Buffer.alloc(4_000_000, crypto.getRandomValues(new Uint8Array(60_000)));
      const { id } = await publish(registry, {
        layers: [await tarOf([{ name: "large", text: large }])],
        compression: "none",
      });
      registry.faults.cuts = [2_000_000, 1_000_000];
      registry.faults.ranges = ranges;
      await pull(fixture, `${registry.host}/app:v1`);
      expect(fixture.images.get(id).id).toBe(id);
      expect(registry.seen.filter(({ range }) => Number(range?.slice(6, -1)) > 100_000).length).toBe(2);
    });
  }

  test("by sending clients to a host that nobody knows, or to a closed port, is told with that host's name", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    registry.faults.answers.push({ status: 307, headers: { Location: "http://elsewhere.invalid/x" } });
    const { message } = await failure(pull(fixture, `${registry.host}/app:v1`));
    expect(message).toContain('/v2/app/manifests/v1": lookup elsewhere.invalid: no such host');
    const closedPort = { status: 307, headers: { Location: "http://127.0.0.1:1/x" } };
    registry.faults.answers = Array.from({ length: 5 }, () => closedPort);
    const closed = await failure(pull(fixture, `${registry.host}/app:v1`));
    expect(closed.message).toContain('/v2/app/manifests/v1": dial tcp 127.0.0.1:1: connect: connection refused');
  });

  test("with other bytes than the digest says is refused, and nothing stays", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const { blobs } = await publish(registry);
    const [, blob = Buffer.alloc(0)] = blobs;
    const changed = Buffer.from(blob).fill(7, 20, 40);
    for (const wrong of [changed, Buffer.concat([blob, blob])]) {
      registry.faults.spoilt.set(sha256(blob), wrong);
      expect((await failure(pull(fixture, `${registry.host}/app:v1`))).message).toMatch(/should be|should have/);
      expectNothing(fixture, scratch.path);
    }
  });

  test("with a layer of other content than the config says is refused, and nothing stays", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const layers = await twoLayers();
    await publish(registry, {
      layers,
      config: { rootfs: { type: "layers", diff_ids: [sha256(layers[0] ?? Buffer.of()), sha256(Buffer.of(1))] } },
    });
    expect((await failure(pull(fixture, `${registry.host}/app:v1`))).message).toContain("The layer should be");
    expectNothing(fixture, scratch.path);
  });

  test("answers for what is not there, and with what is not supported, are told in Docker's words", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const missing = await failure(pull(fixture, `${registry.host}/app:none`));
    expect(missing).toMatchObject({
      code: "notFound",
      message: `manifest for ${registry.host}/app:none not found: manifest unknown: manifest unknown`,
    });
    const old = { schemaVersion: 1, name: "app", tag: "old" };
    registry.putManifest("app", "old", {
      bytes: Buffer.from(JSON.stringify(old)),
      mediaType: "application/vnd.docker.distribution.manifest.v1+prettyjws",
    });
    expect((await failure(pull(fixture, `${registry.host}/app:old`))).message).toContain("schema 1");
    registry.putManifest("app", "large", {
      bytes: Buffer.alloc(4 * 1024 * 1024 + 1, " "),
      mediaType: mediaTypes.ociManifest,
    });
    expect(await failure(pull(fixture, `${registry.host}/app:large`))).toMatchObject({ code: "resourceExhausted" });
    expect((await failure(push(fixture, `${registry.host}/app:none`))).message).toBe(
      `An image does not exist locally with the tag: ${registry.host}/app`,
    );
    expectNothing(fixture, scratch.path);
  });
});

test("a push that one layer fails says why, and puts no manifest", async () => {
  await using scratch = newScratch();
  await using from = await RegistryFixture.start();
  await using to = await RegistryFixture.start();
  using fixture = openImages(scratch.path);
  const { id, digest } = await publish(from);
  await pull(fixture, `${from.host}/app:v1`);
  await fixture.images.tag(id, { repository: `${to.host}/app`, tag: "v1" });
  // For the question whether it has a layer.
  to.faults.answers.push({ status: 403 });
  expect(await failure(push(fixture, `${to.host}/app:v1`))).toMatchObject({ code: "permissionDenied" });
  expect([...to.manifests.keys()]).toEqual([]);
  const again = await push(fixture, `${to.host}/app:v1`);
  expect(again.at(-1)).toMatchObject({ aux: { Tag: "v1", Digest: digest } });
});

describe("two clients that pull the same image", () => {
  test("share one download, which one of them may leave", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const { id } = await publish(registry);
    const gate = Promise.withResolvers<void>();
    registry.faults.gate = gate.promise;
    const leaving = fixture.images.pull(`${registry.host}/app:v1`, { settings });
    await leaving.next();
    const staying = pull(fixture, `${registry.host}/app:v1`);
    await leaving.return(undefined);
    gate.resolve();
    expect((await staying).at(-1)?.status).toContain("Downloaded newer image");
    expect(fixture.images.get(id).id).toBe(id);
    expect(registry.count(/GET .*blobs/)).toBe(3);
  });

  test("cancel it when both leave, and nothing stays", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    await publish(registry);
    const gate = Promise.withResolvers<void>();
    registry.faults.gate = gate.promise;
    const clients = [1, 2].map(() => fixture.images.pull(`${registry.host}/app:v1`, { settings }));
    await Promise.all(clients.map((client) => client.next()));
    await Promise.all(clients.map((client) => client.return(undefined)));
    gate.resolve();
    expectNothing(fixture, scratch.path);
  });
});
