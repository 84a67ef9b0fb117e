import { expect, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FolderStorage, serveRegistry, type RegistryServerOptions } from "../../src/registry/index.ts";
import { sha256, smallImage } from "../support/oci-layout.ts";
import { errorCode, mustBe, pushBlob, pushImage, putManifest } from "../support/registry-calls.ts";
import { newScratch } from "../support/scratch.ts";

const atOnce: Partial<RegistryServerOptions> = { limits: { graceMs: -1, uploadExpiryMs: -1 }, collectEveryMs: 0 };

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);
}

test("what no manifest needs goes, and what one needs stays until it is deleted", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: scratch.path, ...atOnce });
  const image = smallImage("kept");
  await pushImage(registry.url, "a", { image, tag: "v1" });
  const loose = new Uint8Array(Buffer.from("nobody needs me"));
  await pushBlob(registry.url, "a", loose);
  await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: "POST" });
  expect(await registry.collect()).toEqual({
    tagsDeleted: 0,
    manifestsDeleted: 0,
    uploadsExpired: 1,
    linksDropped: 1,
    blobsDeleted: 1,
    bytesReclaimed: loose.length,
  });
  expect((await fetch(`${registry.url}/v2/a/blobs/${sha256(loose)}`)).status).toBe(404);
  for (const digest of image.blobs.keys())
    expect((await fetch(`${registry.url}/v2/a/blobs/${digest}`)).status).toBe(200);
  await fetch(`${registry.url}/v2/a/manifests/${image.manifestDigest}`, { method: "DELETE" });
  expect((await registry.collect()).blobsDeleted).toBe(2);
  expect(filesBelow(join(scratch.path, "blobs"))).toEqual([]);
  expect(filesBelow(join(scratch.path, "uploads"))).toEqual([]);
});

test("within the grace time nothing goes, so that a push that was told 'it is here' can end", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: scratch.path, collectEveryMs: 0 });
  await pushBlob(registry.url, "a", new Uint8Array(Buffer.from("soon needed")));
  expect((await registry.collect()).blobsDeleted).toBe(0);
});

test("pushes that race a collector which spares nothing: a manifest that was taken has its blobs", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: scratch.path, ...atOnce });
  const image = smallImage("raced");
  let taken = 0;
  let refused = 0;
  let isDone = false;
  const collector = (async () => {
    while (!isDone) {
      await registry.collect();
      await Bun.sleep(0);
    }
  })();
  const pusher = async (repository: string): Promise<void> => {
    for (let turn = 0; turn < 12; turn++) {
      // An upload that is expired under way is refused as well: this collector spares nothing.
      for (const bytes of image.blobs.values()) await pushBlob(registry.url, repository, bytes);
      const answer = await putManifest(registry.url, `${repository}/manifests/v1`, { bytes: image.manifest });
      if (answer.status !== 201) {
        refused++;
        expect(await errorCode(answer)).toBe("MANIFEST_BLOB_UNKNOWN");
        continue;
      }
      taken++;
      for (const [digest, bytes] of image.blobs) {
        const blob = await mustBe(200, await fetch(`${registry.url}/v2/${repository}/blobs/${digest}`));
        expect(Buffer.from(await blob.arrayBuffer())).toEqual(Buffer.from(bytes));
      }
      await fetch(`${registry.url}/v2/${repository}/manifests/${image.manifestDigest}`, { method: "DELETE" });
    }
  };
  await Promise.all(["a", "b", "c", "d"].map(pusher));
  isDone = true;
  await collector;
  expect(taken + refused).toBe(48);
  await registry.collect();
  expect(filesBelow(join(scratch.path, "blobs"))).toEqual([]);
});

test("two pushes of one blob at once both succeed, and it is kept once", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: scratch.path });
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const answers = await Promise.all(Array.from({ length: 8 }, (_, n) => pushBlob(registry.url, `r${n % 2}`, bytes)));
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 201));
  expect(filesBelow(join(scratch.path, "blobs"))).toEqual([sha256(bytes).slice("sha256:".length)]);
  expect(filesBelow(join(scratch.path, "uploads"))).toEqual([]);
});

test("no more uploads than the limit are taken, and no larger blobs", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: scratch.path, limits: { uploadsAtOnce: 1, blobBytes: 10 } });
  const begun = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: "POST" });
  const second = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: "POST" });
  expect([second.status, await errorCode(second)]).toEqual([429, "TOOMANYREQUESTS"]);
  const location = `${registry.url}${begun.headers.get("Location")}`;
  const tooLarge = await fetch(location, { method: "PATCH", body: "01234567890" });
  expect([tooLarge.status, await errorCode(tooLarge)]).toEqual([413, "SIZE_INVALID"]);
});

test("a root has one server; after it is closed the next one goes on with the same images and uploads", async () => {
  await using scratch = newScratch();
  const image = smallImage("again");
  let location: string | null;
  {
    await using registry = await serveRegistry({ root: scratch.path });
    await pushImage(registry.url, "a", { image, tag: "v1" });
    location = (await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: "POST" })).headers.get("Location");
    await mustBe(202, await fetch(`${registry.url}${location}`, { method: "PATCH", body: "01234" }));
    await expect(serveRegistry({ root: scratch.path })).rejects.toThrow("Another registry works on");
  }
  await using registry = await serveRegistry({ root: scratch.path });
  expect((await fetch(`${registry.url}/v2/a/manifests/v1`)).status).toBe(200);
  expect((await fetch(`${registry.url}${location}`)).headers.get("Range")).toBe("0-4");
  const digest = sha256(Buffer.from("0123456789"));
  await mustBe(201, await fetch(`${registry.url}${location}?digest=${digest}`, { method: "PUT", body: "56789" }));
});

test("what a killed server left is swept: bytes without a record, staged files without an upload", async () => {
  await using scratch = newScratch();
  await (await serveRegistry({ root: scratch.path })).close();
  const storage = new FolderStorage(join(scratch.path, "blobs"));
  const staged = join(scratch.path, "uploads", "left");
  writeFileSync(staged, "orphan");
  const orphan = sha256(Buffer.from("orphan"));
  await storage.put(orphan, staged);
  writeFileSync(staged, "other");
  await (await serveRegistry({ root: scratch.path })).close();
  expect(await storage.size(orphan)).toBeUndefined();
  expect(existsSync(staged)).toBe(false);
});
