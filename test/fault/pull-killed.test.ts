import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defaultRegistrySettings } from "../../src/registry/index.ts";
import { mediaTypes } from "../../src/spec/index.ts";
import { collectMessages, configFor, openImages, sha256, tarOf } from "../support/image-fixture.ts";
import { RegistryFixture } from "../support/registry-fixture.ts";
import { newScratch } from "../support/scratch.ts";

const program = join(import.meta.dir, "../support/image-pull-forever.ts");
const settings = defaultRegistrySettings;

/** Starts the program and kills it that long after it said that it is ready. */
async function killAfter(words: readonly string[], delayMs: number): Promise<void> {
  const child = Bun.spawn([process.execPath, program, ...words], { stdout: "pipe", stderr: "inherit" });
  const reader = child.stdout.getReader();
  expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("ready\n");
  // The delay is what varies from round to round: it is where the kill lands, not something waited for.
  await Bun.sleep(delayMs);
  child.kill("SIGKILL");
  await child.exited;
}

async function publish(registry: RegistryFixture): Promise<string> {
  const layers = await Promise.all(
    ["one", "two", "three"].map((name) =>
      tarOf([{ name: "etc/" }, { name: `etc/${name}`, text: name.repeat(20_000) }]),
    ),
  );
  const config = configFor(layers);
  const blobs = layers.map((layer) => gzipSync(layer));
  for (const blob of [config, ...blobs]) registry.putBlob("app", blob);
  const describe = (mediaType: string, bytes: Uint8Array) => ({ mediaType, digest: sha256(bytes), size: bytes.length });
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: describe(mediaTypes.ociConfig, config),
    layers: blobs.map((blob) => describe(mediaTypes.ociLayerGzip, blob)),
  };
  return registry.putManifest("app", "v1", {
    bytes: Buffer.from(JSON.stringify(manifest)),
    mediaType: mediaTypes.ociManifest,
  });
}

test("killed in the middle of pulls, the store has the image whole or not at all, and collects the rest", async () => {
  await using registry = await RegistryFixture.start();
  const digest = await publish(registry);
  const name = `${registry.host}/app:v1`;
  for (let delayMs = 1; delayMs < 90; delayMs += 8) {
    await using scratch = newScratch();
    await killAfter([scratch.path, name], delayMs);
    using fixture = openImages(scratch.path);
    const { images, snapshots, content } = fixture;
    await images.collect();
    for (const image of images.list()) {
      // Without a tag it was on its way out: a removal takes the names first.
      if (image.repoTags.length > 0) expect(image.repoDigests).toEqual([`${registry.host}/app@${digest}`]);
      // A push reads and sends every byte that it needs.
      await images.tag(image.id, { repository: `${registry.host}/again`, tag: "v1" });
      await collectMessages(images.push(`${registry.host}/again:v1`, { settings }));
      expect(sha256(registry.manifests.get("again/manifests/v1")?.bytes ?? Buffer.of())).toBe(digest);
      await images.remove(image.id, { force: true, noPrune: false, usedBy: () => [] });
    }
    await images.collect();
    expect([...snapshots.layers(), ...snapshots.keys(), ...content.digests()]).toEqual([]);
    expect(readdirSync(join(scratch.path, "root/content/blobs/sha256"))).toEqual([]);
    expect(readdirSync(join(scratch.path, "root/content/incoming"))).toEqual([]);
    expect(readdirSync(join(scratch.path, "root/overlay2")).filter((entry) => entry !== "l")).toEqual([]);
  }
}, 30_000);
