import { expect, test } from "bun:test";
import { join } from "node:path";
import { defaultRegistrySettings, serveRegistry } from "../../src/registry/index.ts";
import type { ImageRecord } from "../../src/image/image-record.ts";
import { once, openImages, tarOf, type ImageFixture } from "../support/image-fixture.ts";
import { newScratch } from "../support/scratch.ts";

const spdx = "https://spdx.dev/Document";
const slsa = "https://slsa.dev/provenance/v0.2";
const push = { settings: defaultRegistrySettings };

/** What curl has of a path, as JSON. */
async function curl<T>(url: string, ...options: string[]): Promise<T> {
  const child = Bun.spawn(["curl", "--silent", "--fail-with-body", ...options, url], { stdout: "pipe" });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`curl ${url} failed: ${text}`);
  return JSON.parse(text) as T;
}

interface Document {
  readonly digest: string;
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly annotations?: Record<string, string>;
  readonly platform?: { os: string; architecture: string };
  readonly manifests: Document[];
  readonly layers: Document[];
  readonly subject?: Document;
}

async function imported({ images }: ImageFixture, reference: string): Promise<ImageRecord> {
  const options = { reference, changes: [], message: "" };
  const tar = await tarOf([{ name: "hello", text: reference }]);
  for await (const _ of images.import(once(tar), options));
  return images.get(reference);
}

async function pushed({ images }: ImageFixture, reference: string): Promise<string> {
  let digest = "";
  for await (const { aux } of images.push(reference, push))
    digest = (aux as { Digest?: string } | undefined)?.Digest ?? digest;
  return digest;
}

test("a push attaches what is attested: in an index as BuildKit has it, and among the manifest's referrers", async () => {
  await using scratch = newScratch();
  using engine = openImages(join(scratch.path, "engine"));
  const registry = await serveRegistry({ root: join(scratch.path, "registry") });
  try {
    const host = new URL(registry.url).host;
    const reference = `${host}/app:v1`;
    const image = await imported(engine, reference);
    await engine.images.attest(image.id, { predicateType: spdx, predicate: { spdxVersion: "SPDX-2.3" } });
    await engine.images.attest(image.id, { predicateType: slsa, predicate: { buildType: "first" } });
    await engine.images.attest(image.id, { predicateType: slsa, predicate: { buildType: "second" } });
    const digest = await pushed(engine, reference);

    const base = `${registry.url}/v2/app`;
    const index = await curl<Document>(`${base}/manifests/v1`, "-H", "Accept: application/vnd.oci.image.index.v1+json");
    expect(index.mediaType).toBe("application/vnd.oci.image.index.v1+json");
    const [of, attestation] = index.manifests;
    expect(of).toMatchObject({ mediaType: "application/vnd.oci.image.manifest.v1+json", platform: { os: "linux" } });
    expect(attestation).toMatchObject({
      platform: { os: "unknown", architecture: "unknown" },
      annotations: {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": of?.digest ?? "",
      },
    });

    const { manifests: referrers } = await curl<Document>(`${base}/referrers/${of?.digest}`);
    expect(referrers).toMatchObject([
      { digest: attestation?.digest ?? "", artifactType: "application/vnd.docker.attestation.manifest.v1+json" },
    ]);
    const manifest = await curl<Document>(`${base}/manifests/${attestation?.digest}`);
    expect(manifest.subject?.digest).toBe(of?.digest ?? "");
    expect(manifest.layers.map(({ mediaType, annotations }) => [mediaType, annotations])).toEqual([
      ["application/vnd.in-toto+json", { "in-toto.io/predicate-type": slsa }],
      ["application/vnd.in-toto+json", { "in-toto.io/predicate-type": spdx }],
    ]);
    const said = await curl(`${base}/blobs/${manifest.layers[0]?.digest}`);
    expect(said).toEqual({
      _type: "https://in-toto.io/Statement/v1",
      predicateType: slsa,
      subject: [
        {
          name: `pkg:docker/${host.replace(":", "%3A")}/app@v1?platform=${encodeURIComponent(`linux/${image.config.architecture}`)}`,
          digest: { sha256: of?.digest.slice("sha256:".length) },
        },
      ],
      predicate: { buildType: "second" },
    });

    // A second push says the same in the same bytes, after the blobs that nothing names were collected too.
    await engine.images.collect();
    expect(await pushed(engine, reference)).toBe(digest);
    const { RepoDigests, Manifests } = await engine.images.inspect(reference, { manifests: true });
    expect(RepoDigests).toEqual([`${host}/app@${digest}`]);
    expect(Manifests?.map(({ ID, Kind }) => [ID, Kind])).toEqual([
      [of?.digest ?? "", "image"],
      [attestation?.digest ?? "", "attestation"],
    ]);
  } finally {
    await registry.close();
  }
}, 30_000);

test("an attested image is pulled, saved, loaded and pushed again with the bytes of its index and of what is attested", async () => {
  await using scratch = newScratch();
  using engine = openImages(join(scratch.path, "engine"));
  using other = openImages(join(scratch.path, "other"));
  using third = openImages(join(scratch.path, "third"));
  const registry = await serveRegistry({ root: join(scratch.path, "registry") });
  try {
    const { host } = new URL(registry.url);
    const reference = `${host}/app:v1`;
    const image = await imported(engine, reference);
    await engine.images.attest(image.id, { predicateType: spdx, predicate: { spdxVersion: "SPDX-2.3" } });
    const digest = await pushed(engine, reference);
    for await (const _ of other.images.pull(reference, push));
    expect(other.images.get(reference).id).toBe(image.id);
    await other.images.collect();
    const { Manifests } = await other.images.inspect(reference, { manifests: true });
    expect(Manifests?.map(({ Kind, Available }) => [Kind, Available])).toEqual([
      ["image", true],
      ["attestation", true],
    ]);

    await other.images.tag(reference, { repository: `${host}/copy`, tag: "v1" });
    expect(await pushed(other, `${host}/copy:v1`)).toBe(digest);
    const accept = ["-H", "Accept: application/vnd.oci.image.index.v1+json"];
    const index = await curl<Document>(`${registry.url}/v2/copy/manifests/v1`, ...accept);
    const [of, attestation] = index.manifests;
    const manifest = await curl<Document>(`${registry.url}/v2/copy/manifests/${attestation?.digest}`);
    const said = await curl<object>(`${registry.url}/v2/copy/blobs/${manifest.layers[0]?.digest}`);
    expect(said).toMatchObject({ predicateType: spdx, predicate: { spdxVersion: "SPDX-2.3" } });
    const referrers = await curl<Document>(`${registry.url}/v2/copy/referrers/${of?.digest}`);
    expect(referrers.manifests.map((each) => each.digest)).toEqual([attestation?.digest ?? ""]);

    const archive = await other.images.save([reference]);
    for await (const _ of third.images.load(archive, { quiet: true }));
    await third.images.collect();
    expect(third.images.get(reference).id).toBe(image.id);
    await third.images.tag(reference, { repository: `${host}/loaded`, tag: "v1" });
    expect(await pushed(third, `${host}/loaded:v1`)).toBe(digest);

    for (const each of [reference, `${host}/copy:v1`]) {
      await other.images.remove(each, { force: false, noPrune: false, usedBy: () => [] });
    }
    expect(other.content.digests()).toEqual([]);
  } finally {
    await registry.close();
  }
}, 30_000);

test("what is attested goes with its image, and an image without it is pushed as it was", async () => {
  await using scratch = newScratch();
  using engine = openImages(join(scratch.path, "engine"));
  const registry = await serveRegistry({ root: join(scratch.path, "registry") });
  try {
    const host = new URL(registry.url).host;
    const plain = await imported(engine, `${host}/plain:v1`);
    await pushed(engine, `${host}/plain:v1`);
    const manifest = await curl<Document>(
      `${registry.url}/v2/plain/manifests/v1`,
      "-H",
      "Accept: application/vnd.docker.distribution.manifest.v2+json",
    );
    expect(manifest.mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");

    const image = await imported(engine, `${host}/app:v1`);
    await engine.images.attest(image.id, { predicateType: spdx, predicate: { name: "x" } });
    expect(engine.images.attestedPredicate(image.id, spdx)).toEqual({ name: "x" });
    expect(() => engine.images.attestedPredicate(plain.id, spdx)).toThrow(`Nothing of the type "${spdx}" is attested`);
    const [attestation] = engine.images.attestations(image.id);
    await engine.images.collect();
    expect(engine.content.has(attestation?.predicate.digest ?? "")).toBe(true);
    await engine.images.remove(`${host}/app:v1`, { force: false, noPrune: false, usedBy: () => [] });
    await engine.images.collect();
    expect(engine.content.has(attestation?.predicate.digest ?? "")).toBe(false);
  } finally {
    await registry.close();
  }
}, 30_000);
