// What changes an engine's store, each as something that can be cut off, looked at, done again and undone.
import { expect } from "bun:test";
import { createCipheriv } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { mediaTypes, type ImageInspect } from "../../src/spec/index.ts";
import { ask } from "./engine-containers.ts";
import { configFor, sha256, tarOf } from "./image-fixture.ts";
import type { RegistryFixture } from "./registry-fixture.ts";
import type { TestEngine } from "./test-engine.ts";

export interface StoreAction {
  readonly name: string;
  /** Brings the engine to where the action begins. */
  begin(engine: TestEngine): Promise<void>;
  /** Rejects unless it succeeds. May be done again after it was cut off anywhere. */
  act(engine: TestEngine): Promise<void>;
  /** That it is done. */
  expectDone(engine: TestEngine): Promise<void>;
  undo(engine: TestEngine): Promise<void>;
}

/** An image of two layers, as a registry has it and as an archive. */
export interface TravellingImage {
  readonly reference: string;
  readonly id: string;
  readonly archive: Uint8Array;
  /** What its files must be, by their path. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly manifestDigest: string;
  publish(): void;
}

/** The same bytes each time, as if they were random. */
function incompressible(sizeBytes: number): Buffer {
  const key = Buffer.alloc(16, 7);
  return createCipheriv("aes-128-ctr", key, key).update(Buffer.alloc(sizeBytes));
}

/** Its registry is the fixture, where it is called `app:v1`; `publish` puts it there. */
export async function newTravellingImage(registry: RegistryFixture): Promise<TravellingImage> {
  const text = (words: string): Buffer => Buffer.from(words);
  const one = { name: "data/one", text: text("one ".repeat(60_000)) };
  const two = { name: "data/two", text: text("two ".repeat(20_000)) };
  const three = { name: "etc/three", text: text("three") };
  // Large when compressed, too: such a layer is unpacked by another process.
  const noise = { name: "data/noise", text: incompressible(2_500_000) };
  const layers = await Promise.all([
    tarOf([{ name: "data/" }, one, { name: "data/gone", text: "gone" }]),
    tarOf([{ name: "data/.wh.gone" }, two, three]),
    tarOf([noise]),
  ]);
  const files = new Map([one, two, three, noise].map((file) => [file.name, file.text]));
  const config = configFor(layers);
  const reference = `${registry.host}/app:v1`;
  const blobs = layers.map((layer) => Buffer.from(Bun.gzipSync(new Uint8Array(layer))));
  const describe = (mediaType: string, bytes: Uint8Array) => ({ mediaType, digest: sha256(bytes), size: bytes.length });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: describe(mediaTypes.ociConfig, config),
      layers: blobs.map((blob) => describe(mediaTypes.ociLayerGzip, blob)),
    }),
  );
  const members = [
    { name: `${sha256(config).slice(7)}.json`, text: config },
    ...layers.map((layer, index) => ({ name: `${index}.tar`, text: layer })),
    {
      name: "manifest.json",
      text: JSON.stringify([
        {
          Config: `${sha256(config).slice(7)}.json`,
          RepoTags: [reference],
          Layers: layers.map((_, index) => `${index}.tar`),
        },
      ]),
    },
  ];
  return {
    reference,
    id: sha256(config),
    archive: await tarOf(members),
    files,
    manifestDigest: sha256(manifest),
    publish() {
      for (const blob of [config, ...blobs]) registry.putBlob("app", blob);
      registry.putManifest("app", "v1", { bytes: manifest, mediaType: mediaTypes.ociManifest });
    },
  };
}

/** Throws what a stream of progress ends with, as docker's client would. */
async function progress(answer: Response): Promise<void> {
  const text = await answer.text();
  if (!answer.ok || text.includes('"errorDetail"')) throw new Error(`${answer.status} ${text.slice(-500)}`);
}

const post = (engine: TestEngine, path: string, options: RequestInit = {}): Promise<Response> =>
  fetch(`http://engine${path}`, { unix: engine.socket, method: "POST", ...options });

const inspect = (engine: TestEngine, name: string): Promise<Response> => engine.api("GET", `/images/${name}/json`);

async function remove(engine: TestEngine, name: string): Promise<void> {
  const answer = await engine.api("DELETE", `/images/${name}?force=1`);
  const text = await answer.text();
  if (answer.status !== 200 && answer.status !== 404) throw new Error(`${answer.status} ${text}`);
}

/** The image is there under its id, and every file of it has its bytes. */
export async function expectWhole(engine: TestEngine, { reference, id, files }: TravellingImage): Promise<void> {
  const answer = await inspect(engine, reference);
  const image = (await answer.json()) as ImageInspect;
  expect([answer.status, image.Id]).toEqual([200, id]);
  const { UpperDir = "", LowerDir = "", RootDir = "" } = image.GraphDriver.Data ?? {};
  for (const [path, bytes] of files) {
    const found = [RootDir, UpperDir, ...LowerDir.split(":")]
      .map((directory) => join(directory, path))
      .find((file) => Bun.file(file).size > 0);
    expect(found === undefined ? `${path} is missing` : readFileSync(found).equals(bytes)).toBe(true);
  }
}

export async function isThere(engine: TestEngine, name: string): Promise<boolean> {
  const answer = await inspect(engine, name);
  await answer.text();
  return answer.status === 200;
}

const load = async (engine: TestEngine, image: TravellingImage): Promise<void> =>
  progress(await post(engine, "/images/load", { body: new Uint8Array(image.archive) }));

const nothing = async (): Promise<void> => {};

/** By name; `container` is one whose changes are committed, and which keeps its image from being pruned. */
export function storeActions(
  registry: RegistryFixture,
  image: TravellingImage,
  container: () => string,
): StoreAction[] {
  const there = (engine: TestEngine): Promise<void> => expectWhole(engine, image);
  const gone = async (engine: TestEngine): Promise<void> => expect(await isThere(engine, image.id)).toBe(false);
  const removed = (engine: TestEngine): Promise<void> => remove(engine, image.id);
  const loaded = (engine: TestEngine): Promise<void> => load(engine, image);
  return [
    { name: "load", begin: nothing, act: loaded, expectDone: there, undo: removed },
    {
      name: "commit",
      begin: nothing,
      act: async (engine) => void (await ask(engine, "POST", `/commit?container=${container()}&repo=made&tag=v1`)),
      expectDone: async (engine) => expect(await isThere(engine, "made:v1")).toBe(true),
      async undo(engine) {
        const made = await ask<{ Id: string }[]>(engine, "GET", '/images/json?all=1&filters={"since":["busybox"]}');
        for (const { Id } of made) await remove(engine, Id);
      },
    },
    {
      name: "push",
      begin: loaded,
      act: async (engine) =>
        progress(
          await post(engine, `/images/${registry.host}/app/push?tag=v1`, {
            headers: { "X-Registry-Auth": Buffer.from("{}").toString("base64") },
          }),
        ),
      async expectDone() {
        const pushed = registry.manifests.get("app/manifests/v1");
        const { config, layers } = JSON.parse(Buffer.from(pushed?.bytes ?? "{}").toString()) as {
          config: { digest: string };
          layers: { digest: string }[];
        };
        expect(config.digest).toBe(image.id);
        for (const { digest } of [config, ...layers])
          expect(sha256(registry.blobs.get(digest) ?? Buffer.of())).toBe(digest);
      },
      async undo(engine) {
        registry.manifests.clear();
        registry.blobs.clear();
        await removed(engine);
      },
    },
    { name: "rmi", begin: loaded, act: removed, expectDone: gone, undo: nothing },
    {
      name: "prune",
      begin: loaded,
      act: async (engine) => void (await ask(engine, "POST", '/images/prune?filters={"dangling":["false"]}')),
      expectDone: gone,
      undo: nothing,
    },
    {
      name: "pull",
      begin: async () => image.publish(),
      act: async (engine) => progress(await post(engine, `/images/create?fromImage=${registry.host}/app&tag=v1`)),
      expectDone: there,
      async undo(engine) {
        registry.manifests.clear();
        registry.blobs.clear();
        await removed(engine);
      },
    },
  ];
}
