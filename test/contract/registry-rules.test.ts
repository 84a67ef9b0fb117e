import { expect, test } from "bun:test";
import { rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { serveRegistry, verifyRegistry } from "../../src/registry/index.ts";
import { sha256, smallImage } from "../support/oci-layout.ts";
import { errorCode, mustBe, pushBlob, pushImage, putManifest } from "../support/registry-calls.ts";
import { newScratch } from "../support/scratch.ts";

const main = join(import.meta.dir, "..", "..", "src", "main.ts");

test("an immutable tag takes its own manifest again and no other, until it is deleted", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: scratch.path, immutableTags: true });
  const [one, two] = [smallImage("one"), smallImage("two")];
  await pushImage(registry.url, "a", { image: one, tag: "v1" });
  await pushImage(registry.url, "a", { image: one, tag: "v1" });
  await pushImage(registry.url, "a", { image: two, tag: "v2" });
  const moved = await putManifest(registry.url, "a/manifests/v1", { bytes: two.manifest });
  expect([moved.status, await errorCode(moved)]).toEqual([409, "DENIED"]);
  const present = await fetch(`${registry.url}/v2/a/manifests/v1`);
  expect(present.headers.get("Docker-Content-Digest")).toBe(one.manifestDigest);
  await mustBe(202, await fetch(`${registry.url}/v2/a/manifests/v1`, { method: "DELETE" }));
  await mustBe(201, await putManifest(registry.url, "a/manifests/v1", { bytes: two.manifest }));
});

test("a registry that keeps everything refuses each deletion by name, but for uploads", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: scratch.path, keepEverything: true });
  const image = smallImage("kept");
  await pushImage(registry.url, "a", { image, tag: "v1" });
  for (const path of ["manifests/v1", `manifests/${image.manifestDigest}`, `blobs/${[...image.blobs.keys()][0]}`]) {
    const answer = await fetch(`${registry.url}/v2/a/${path}`, { method: "DELETE" });
    expect([answer.status, await errorCode(answer)]).toEqual([405, "UNSUPPORTED"]);
  }
  const begun = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: "POST" });
  const location = `${registry.url}${begun.headers.get("Location")}`;
  expect((await fetch(location, { method: "DELETE" })).status).toBe(204);
});

test("a repository takes blobs up to its quota, mounted ones too; what it has already adds nothing", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: scratch.path, limits: { repositoryBytes: 100 } });
  const [a, b] = [new Uint8Array(60).fill(1), new Uint8Array(60).fill(2)];
  await mustBe(201, await pushBlob(registry.url, "r", a));
  await mustBe(201, await pushBlob(registry.url, "r", a));
  const over = await pushBlob(registry.url, "r", b);
  expect([over.status, await errorCode(over)]).toEqual([403, "DENIED"]);
  await mustBe(201, await pushBlob(registry.url, "other", b));
  const racing = Array.from({ length: 6 }, (_, n) => pushBlob(registry.url, "raced", new Uint8Array(60).fill(10 + n)));
  expect((await Promise.all(racing)).filter(({ status }) => status === 201)).toHaveLength(1);
  const mount = `${registry.url}/v2/r/blobs/uploads/?mount=${sha256(b)}&from=other`;
  expect((await fetch(mount, { method: "POST" })).status).toBe(403);
  expect((await fetch(`${registry.url}/v2/r/blobs/${sha256(b)}`)).status).toBe(404);
});

test("verify finds a blob with another byte, one that is gone, and what its manifest misses, while the server runs", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: scratch.path, collectEveryMs: 0 });
  const image = smallImage("verify");
  await pushImage(registry.url, "a", { image, tag: "v1" });
  expect(await verifyRegistry({ root: scratch.path })).toEqual({ blobs: 2, manifests: 1, problems: [] });
  const [config = "", layer = ""] = image.blobs.keys();
  const file = (digest: string): string => join(scratch.path, "blobs/sha256", digest.slice(7, 9), digest.slice(7));
  writeFileSync(file(config), Buffer.alloc(statSync(file(config)).size, "x"));
  rmSync(file(layer));
  await fetch(`${registry.url}/v2/a/blobs/${layer}`, { method: "DELETE" });
  const { problems } = await verifyRegistry({ root: scratch.path });
  expect(problems).toHaveLength(3);
  for (const words of [
    `The blob "${config}" is damaged`,
    `The blob "${layer}" is not in the folder`,
    `needs "${layer}", which is not there`,
  ]) {
    expect(problems.join("\n")).toContain(words);
  }
  const child = Bun.spawnSync([process.execPath, main, "registry", "verify", "--root", scratch.path]);
  expect(child.stdout.toString()).toContain("2 blobs and 1 manifests were read: 3 problems\n");
  expect(child.exitCode).toBe(1);
  const elsewhere = Bun.spawnSync([process.execPath, main, "registry", "verify", "--root", join(scratch.path, "no")]);
  expect([elsewhere.exitCode, elsewhere.stderr.toString()]).toEqual([
    1,
    `vitrine registry: No registry is in "${join(scratch.path, "no")}"\n`,
  ]);
});

test("metrics count requests by method and status, and what is kept; without the option there are none", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: join(scratch.path, "a"), metrics: true });
  const image = smallImage("metrics");
  await pushImage(registry.url, "a", { image, tag: "v1" });
  await fetch(`${registry.url}/v2/a/manifests/nope`);
  await fetch(`${registry.url}/v2/`, { method: "PROPFIND" });
  const text = await (await fetch(`${registry.url}/metrics`)).text();
  const bytes = [...image.blobs.values()].reduce((sum, blob) => sum + blob.length, 0);
  for (const line of [
    'vitrine_registry_requests_total{method="POST",status="202"} 2',
    'vitrine_registry_requests_total{method="PUT",status="201"} 3',
    'vitrine_registry_requests_total{method="GET",status="404"} 1',
    'vitrine_registry_requests_total{method="other",status="405"} 1',
    'vitrine_registry_request_duration_seconds_count{method="PUT"} 3',
    "vitrine_registry_blobs 2",
    `vitrine_registry_blob_bytes ${bytes}`,
    "vitrine_registry_tags 1",
    "vitrine_registry_uploads 0",
  ]) {
    expect(text.split("\n")).toContain(line);
  }
  await using without = await serveRegistry({ root: join(scratch.path, "b") });
  expect((await fetch(`${without.url}/metrics`)).status).toBe(404);
});
