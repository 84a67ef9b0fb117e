// Layers on their way from a registry: shared, cut, taken up again, in ranges, by mirrors; and what is wrong with them.
import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { boundedPlain } from "../../src/archive/bounded-plain.ts";
import { mount } from "../../src/kernel/index.ts";
import { checkRegistryMirror, defaultRegistrySettings, RepositoryClient } from "../../src/registry/index.ts";
import { mediaTypes } from "../../src/spec/index.ts";
import {
  collectBytes,
  collectMessages,
  openImages,
  sha256,
  tarOf,
  type ImageFixture,
} from "../support/image-fixture.ts";
import { publish } from "../support/published-image.ts";
import { inChunks } from "../support/raw-tar.ts";
import { RegistryFixture } from "../support/registry-fixture.ts";
import { newScratch } from "../support/scratch.ts";
import { projectRoot, waitFor } from "../support/test-engine.ts";

const settings = defaultRegistrySettings;
const noise = (bytes: number): Buffer => {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(buffer.subarray(at, at + 65_536));
  return buffer;
};
const pull = (fixture: ImageFixture, name: string) => collectMessages(fixture.images.pull(name, { settings }));
const incoming = (folder: string): string => join(folder, "root/content/incoming");
/** Bytes of each download that is under way or was cut. */
const partials = (folder: string): number[] =>
  readdirSync(incoming(folder)).map((name) => statSync(join(incoming(folder), name)).size);

async function failure(work: Promise<unknown>): Promise<Error & { code?: string }> {
  return work.then(
    () => Promise.reject(new Error("It did not fail")),
    (error: Error) => error,
  );
}

async function largeImage(registry: RegistryFixture, repository: string, bytes = noise(4_000_000)) {
  const layers = [await tarOf([{ name: "large", text: bytes }]), await tarOf([{ name: repository, text: repository }])];
  return publish(registry, { repository, layers, compression: "none" });
}

describe("a download that was cut", () => {
  test("goes on where it was after the engine was killed, and its layer is whole", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    const { id } = await largeImage(registry, "app");
    registry.faults.stallAt = 2_500_000;
    const program = join(projectRoot, "test/support/image-pull-forever.ts");
    const engine = Bun.spawn([process.execPath, program, scratch.path, `${registry.host}/app:v1`], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    await waitFor("half of the layer", () => {
      try {
        return partials(scratch.path).includes(2_500_000);
      } catch {
        return false;
      }
    });
    engine.kill("SIGKILL");
    await engine.exited;
    registry.faults.stallAt = undefined;
    using fixture = openImages(scratch.path);
    expect(partials(scratch.path)).toEqual([2_500_000]);
    await pull(fixture, `${registry.host}/app:v1`);
    expect(fixture.images.get(id).id).toBe(id);
    expect(registry.seen.map(({ range }) => range)).toContain("bytes=2500000-");
    expect(partials(scratch.path)).toEqual([]);
  });

  test("begins anew where what is left of it is damaged, and goes when it is old", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    const { id, blobs } = await largeImage(registry, "app");
    mkdirSync(incoming(scratch.path), { recursive: true });
    const left = join(incoming(scratch.path), sha256(blobs[0] ?? Buffer.of()).slice(7));
    writeFileSync(left, noise(1_000_000));
    writeFileSync(join(incoming(scratch.path), "f".repeat(64)), noise(300_000));
    Bun.spawnSync(["touch", "-d", "2 days ago", join(incoming(scratch.path), "f".repeat(64))]);
    using fixture = openImages(scratch.path);
    expect(partials(scratch.path)).toEqual([1_000_000]);
    await pull(fixture, `${registry.host}/app:v1`);
    expect(fixture.images.get(id).id).toBe(id);
    expect(partials(scratch.path)).toEqual([]);
  });
});

test("a client that leaves while a layer is unpacked ends the unpacking, and keeps what came", async () => {
  await using scratch = newScratch();
  await using registry = await RegistryFixture.start();
  using fixture = openImages(scratch.path);
  await largeImage(registry, "app");
  registry.faults.stallAt = 2_500_000;
  const gone = new AbortController();
  const leaving = collectMessages(fixture.images.pull(`${registry.host}/app:v1`, { settings, left: gone.signal }));
  leaving.catch(() => {});
  const unpacked = (): string => {
    const found = Bun.spawnSync(["find", join(scratch.path, "root/overlay2"), "-name", "large", "-size", "+1M"]);
    return found.stdout.toString();
  };
  await waitFor("a part of the file to be unpacked", () => unpacked() !== "");
  gone.abort();
  expect(await failure(leaving)).toMatchObject({ code: "cancelled" });
  expect(readdirSync(join(scratch.path, "root/overlay2"))).toEqual(["l"]);
  expect([...fixture.snapshots.layers(), ...fixture.content.digests()]).toEqual([]);
  expect(partials(scratch.path)).toEqual([2_500_000]);
});

describe("a layer of two images that are pulled at once", () => {
  test("comes once and is unpacked once, also when the one that began it leaves", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const bytes = noise(3_000_000);
    const one = await largeImage(registry, "one", bytes);
    const two = await largeImage(registry, "two", bytes);
    const shared = sha256(one.blobs[0] ?? Buffer.of());
    const gate = Promise.withResolvers<void>();
    registry.faults.gate = gate.promise;
    const gone = new AbortController();
    const leaving = collectMessages(fixture.images.pull(`${registry.host}/one:v1`, { settings, left: gone.signal }));
    leaving.catch(() => {});
    const asked = new RegExp(`GET .*blobs/${shared}`);
    gate.resolve();
    registry.faults.gate = undefined;
    registry.faults.stallAt = 2_000_000;
    await waitFor("most of the shared layer", () => partials(scratch.path).includes(2_000_000));
    const staying = pull(fixture, `${registry.host}/two:v1`);
    const own = new RegExp(`GET .*blobs/${sha256(two.blobs[1] ?? Buffer.of())}`);
    await waitFor("the other one's own layer", () => registry.count(own) === 1);
    gone.abort();
    await failure(leaving);
    // The answer that stalled is cut; whoever still wants it asks for the rest.
    registry.faults.stallAt = undefined;
    registry.dropConnections();
    await staying;
    expect(fixture.images.list().map(({ id }) => id)).toEqual([two.id]);
    expect(registry.seen.filter(({ url, range }) => url.includes(shared) && range === undefined)).toHaveLength(1);
    expect(registry.count(asked)).toBe(2);
    expect(fixture.snapshots.layers()).toHaveLength(2);
  });
});

describe("a large blob", () => {
  for (const ranges of [true, false]) {
    test(`comes over ${ranges ? "several ranges at once" : "one connection where there are no ranges"}`, async () => {
      await using registry = await RegistryFixture.start();
      registry.faults.ranges = ranges;
      const bytes = noise(50 * 1024 * 1024);
      const digest = registry.putBlob("app", bytes);
      const client = new RepositoryClient({ domain: registry.host, path: "app", settings, actions: "pull" });
      registry.faults.cuts = [1_000_000];
      const descriptor = { digest, size: bytes.length, mediaType: mediaTypes.ociLayer };
      const got = await collectBytes(client.blob(descriptor, { fromBytes: 1000 }));
      expect(sha256(got)).toBe(sha256(bytes.subarray(1000)));
      const asked = registry.seen.filter(({ range }) => /^bytes=\d+-\d+$/.test(range ?? "")).length;
      if (ranges) expect(asked).toBeGreaterThan(10);
      else expect(asked).toBe(1);
    });
  }
});

describe("mirrors of Docker Hub", () => {
  test("are asked in their order, without credentials, and only for Docker Hub's images", async () => {
    await using without = await RegistryFixture.start();
    await using withImage = await RegistryFixture.start();
    await publish(withImage, { repository: "library/app" });
    const registryMirrors = [without, withImage].map(({ host }) => checkRegistryMirror(`http://${host}`));
    const options = { path: "library/app", settings: { ...settings, registryMirrors }, actions: "pull" } as const;
    const credentials = { username: "ann", password: "secret" };
    const hub = new RepositoryClient({ ...options, domain: "docker.io", credentials });
    const found = await hub.manifest("v1");
    if (found.kind !== "image") throw new Error("It is an index");
    await collectBytes(hub.blob(found.manifest.config));
    expect(without.seen.length).toBe(2);
    expect(withImage.seen.map(({ authorization }) => authorization)).toEqual([undefined, undefined]);
    const other = new RepositoryClient({ ...options, domain: without.host });
    expect(await failure(other.manifest("v1"))).toMatchObject({ code: "notFound" });
    expect(withImage.seen.length).toBe(2);
  });

  test("are addresses and nothing else", () => {
    expect(checkRegistryMirror("https://mirror.example:5000")).toBe("https://mirror.example:5000/");
    for (const wrong of [
      "mirror.example",
      "ftp://mirror",
      "http://a:b@mirror",
      "http://mirror/path",
      "http://mirror?x=y",
    ])
      expect(() => checkRegistryMirror(wrong)).toThrow(`invalid mirror "${wrong}": `);
  });
});

test("a proxy of the environment is asked for a registry of another machine, unless it is exempt", async () => {
  await using proxy = await RegistryFixture.start();
  const { digest } = await publish(proxy);
  const program = `
    import { RepositoryClient } from "${join(projectRoot, "src/registry/index.ts")}";
    const settings = { insecureRegistries: ["registry.invalid"], certificatesDirectory: "/none" };
    const client = new RepositoryClient({ domain: "registry.invalid", path: "app", settings, actions: "pull" });
    console.log(await client.manifest("v1").then((found) => found.descriptor.digest, (error) => error.message));`;
  const ask = async (NO_PROXY: string): Promise<string> => {
    const env = {
      ...process.env,
      HTTP_PROXY: `http://${proxy.host}`,
      http_proxy: `http://${proxy.host}`,
      NO_PROXY,
      no_proxy: NO_PROXY,
    };
    const asking = Bun.spawn([process.execPath, "-e", program], { env, stdio: ["ignore", "pipe", "inherit"] });
    return (await new Response(asking.stdout).text()).trim();
  };
  expect(await ask("other.invalid")).toBe(digest);
  expect(proxy.seen.map(({ url }) => url)).toContain("http://registry.invalid/v2/app/manifests/v1");
  expect(await ask("registry.invalid")).toContain("lookup registry.invalid: no such host");
});

test("a foreign layer comes from where its manifest says, if the engine may ask there, and a push leaves it there", async () => {
  await using scratch = newScratch();
  await using registry = await RegistryFixture.start();
  await using elsewhere = await RegistryFixture.start();
  const { config, blobs } = await publish(elsewhere, { layers: [await tarOf([{ name: "far", text: "far away" }])] });
  registry.putBlob("app", config);
  const [blob = Buffer.of()] = blobs;
  const url = `http://${elsewhere.host}/v2/app/blobs/${sha256(blob)}`;
  const document = (urls: readonly string[]) => ({
    schemaVersion: 2,
    mediaType: mediaTypes.dockerManifest,
    config: { mediaType: mediaTypes.dockerConfig, digest: sha256(config), size: config.length },
    layers: [{ mediaType: foreignType, digest: sha256(blob), size: blob.length, urls }],
  });
  const put = (urls: readonly string[]): string =>
    registry.putManifest("app", "v1", {
      bytes: Buffer.from(JSON.stringify(document(urls))),
      mediaType: mediaTypes.dockerManifest,
    });
  using fixture = openImages(scratch.path);
  const allowed = { settings: { ...settings, allowForeignLayers: true } };
  const pullAllowed = () => collectMessages(fixture.images.pull(`${registry.host}/app:v1`, allowed));
  put([url]);
  expect((await failure(pull(fixture, `${registry.host}/app:v1`))).message).toContain("--allow-foreign-layers");
  put([]);
  expect((await failure(pullAllowed())).message).toContain("does not say where it is");
  put(["http://192.0.2.1/layer", "file:///etc/passwd"]);
  expect((await failure(pullAllowed())).message).toContain('is at "file:///etc/passwd"');
  expect(fixture.content.digests()).toEqual([]);
  const digest = put(["http://192.0.2.1/layer", url]);
  await pullAllowed();
  expect(fixture.images.get(sha256(config)).sizeBytes).toBe("far away".length);
  expect(registry.count(new RegExp(`GET .*${sha256(blob)}`))).toBe(0);

  await fixture.images.tag(sha256(config), { repository: `${registry.host}/copy`, tag: "v1" });
  const said = await collectMessages(fixture.images.push(`${registry.host}/copy:v1`, { settings }));
  expect(JSON.stringify(said)).toContain("Skipped foreign layer");
  expect(registry.manifests.has(`copy/manifests/${digest}`)).toBe(true);
  expect(registry.count(new RegExp(`(PUT|PATCH|HEAD|POST) .*${sha256(blob)}`))).toBe(0);
});

const foreignType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

describe("an image that is wrong", () => {
  const descriptor = (mediaType: string) => ({ mediaType, digest: `sha256:${"1".repeat(64)}`, size: 5 });
  const manifest = (layerType: string, configType: string = mediaTypes.ociConfig) => ({
    schemaVersion: 2,
    config: descriptor(configType),
    layers: [descriptor(layerType)],
  });
  const cases: readonly (readonly [what: string, document: unknown, words: string])[] = [
    ["a layer of an unknown kind", manifest("text/plain"), "which is not a file system's"],
    ["a foreign layer", manifest("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), "is a foreign layer"],
    ["a config of an unknown kind", manifest(mediaTypes.ociLayer, "application/wasm"), "application/wasm"],
    ["no layers", { schemaVersion: 2, config: descriptor(mediaTypes.ociConfig) }, '"layers" is no list'],
    ["no JSON", "{", "The manifest is no JSON"],
  ];
  for (const [what, document, words] of cases) {
    test(`${what} is refused by name before a blob is asked for`, async () => {
      await using scratch = newScratch();
      await using registry = await RegistryFixture.start();
      using fixture = openImages(scratch.path);
      const bytes = Buffer.from(typeof document === "string" ? document : JSON.stringify(document));
      registry.putManifest("app", "v1", { bytes, mediaType: mediaTypes.ociManifest });
      expect((await failure(pull(fixture, `${registry.host}/app:v1`))).message).toContain(words);
      expect(registry.count(/blobs/)).toBe(0);
      expect(fixture.content.digests()).toEqual([]);
    });
  }

  test("an index of indexes without an end is given up", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    let inner = { digest: `sha256:${"1".repeat(64)}`, size: 5 };
    for (let depth = 0; depth < 7; depth++) {
      const manifests = [{ mediaType: mediaTypes.ociIndex, ...inner }];
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }));
      const digest = registry.putManifest("app", "v1", { bytes, mediaType: mediaTypes.ociIndex });
      inner = { digest, size: bytes.length };
    }
    const { message } = await failure(pull(fixture, `${registry.host}/app:v1`));
    expect(message).toBe("The image's indexes are nested more than 4 deep");
  });

  test("an archive that grows beyond measure is refused while it grows", async () => {
    const grown = collectBytes(boundedPlain(inChunks(noise(200_000)), { compressedBytes: 1000, allowance: 10_000 }));
    expect(await failure(grown)).toMatchObject({
      code: "resourceExhausted",
      message: "The archive's 1000 bytes unpack to more than 138000, and so much is refused",
    });
  });
});

describe("a registry that refuses", () => {
  const cases: readonly (readonly [status: number, code: string, words: string])[] = [
    [401, "notFound", "unauthorized: authentication required"],
    [403, "notFound", "pull access denied for"],
    [404, "notFound", "not found: "],
    [429, "resourceExhausted", "unexpected status 429"],
    [500, "unavailable", "unexpected status 500"],
    [503, "unavailable", "unexpected status 503"],
  ];
  for (const [status, code, words] of cases) {
    test(`with ${status}, and asks for no patience worth having, is told as it is`, async () => {
      await using scratch = newScratch();
      await using registry = await RegistryFixture.start();
      using fixture = openImages(scratch.path);
      await publish(registry);
      registry.faults.answers.push({ status, headers: { "Retry-After": "100" } });
      const error = await failure(pull(fixture, `${registry.host}/app:v1`));
      expect(error.message).toContain(words);
      expect(error).toMatchObject({ code });
      expect(registry.count(/manifests/)).toBe(1);
      expect(fixture.content.digests()).toEqual([]);
    });
  }

  test("to go on with a blob is asked some times, and what came is kept for another day", async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    using fixture = openImages(scratch.path);
    const { blobs } = await largeImage(registry, "app");
    const [blob = Buffer.of()] = blobs;
    registry.faults.spoilt.set(sha256(blob), blob.subarray(0, 1_000_000));
    const { message } = await failure(pull(fixture, `${registry.host}/app:v1`));
    expect(message).toContain(`ended after 1000000 of ${blob.length} bytes, 6 times: unexpected EOF`);
    expect([...fixture.snapshots.layers(), ...fixture.content.digests()]).toEqual([]);
    expect(partials(scratch.path)).toEqual([1_000_000]);
  }, 20_000);
});

test("a retry waits as long as the registry says, by a date too", async () => {
  await using registry = await RegistryFixture.start();
  await publish(registry);
  const client = new RepositoryClient({ domain: registry.host, path: "app", settings, actions: "pull" });
  // Whole seconds: at least one lies between.
  const date = new Date(Date.now() + 2000).toUTCString();
  registry.faults.answers.push({ status: 429, headers: { "Retry-After": date } });
  await client.manifest("v1");
  expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(date));
});

for (const size of ["small", "large"] as const) {
  test(`a disk that is full in the middle of an unpack is told, and nothing stays: a ${size} layer`, async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start();
    mkdirSync(join(scratch.path, "root"));
    mount({ type: "tmpfs", source: "none", target: join(scratch.path, "root"), options: ["size=8m"] });
    using fixture = openImages(scratch.path);
    const fine = await tarOf([{ name: "fine", text: "fine" }]);
    const zeros = { name: "zeros", text: Buffer.alloc(12_000_000) };
    const full = await tarOf(size === "large" ? [{ name: "noise", text: noise(1_500_000) }, zeros] : [zeros]);
    expect(gzipSync(full).length > 1024 * 1024).toBe(size === "large");
    await publish(registry, { layers: [fine, full] });
    const error = await failure(pull(fixture, `${registry.host}/app:v1`));
    // The engine's database is on that disk, too.
    expect(error.message).toMatch(/no space left|disk is full/i);
    expect(error).toMatchObject({ code: "resourceExhausted" });
    expect([...fixture.images.list(), ...fixture.snapshots.layers(), ...fixture.content.digests()]).toEqual([]);
    expect(readdirSync(join(scratch.path, "root/overlay2"))).toEqual(["l"]);
    expect(partials(scratch.path)).toEqual([]);
  });
}
