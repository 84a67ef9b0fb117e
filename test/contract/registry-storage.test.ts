import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { FolderStorage, S3Storage, serveRegistry } from "../../src/registry/index.ts";
import { sha256 } from "../support/oci-layout.ts";
import { errorCode, pushBlob } from "../support/registry-calls.ts";
import { s3Keys, startS3 } from "../support/s3-server.ts";
import { newScratch } from "../support/scratch.ts";
import { describeStorage } from "./registry-storage.suite.ts";

const store = startS3("images");
afterAll(() => store[Symbol.asyncDispose]());

describeStorage("a folder", (folder) => new FolderStorage(folder));
describeStorage(
  "an object store",
  () => new S3Storage({ endpoint: store.endpoint, bucket: "images", prefix: "a/b", ...s3Keys }),
);
describeStorage(
  "an object store without a prefix",
  () => new S3Storage({ endpoint: store.endpoint, bucket: "images", prefix: "", ...s3Keys }),
);

test("an object store that refuses the key says so, and one that is down fails the push, which leaves nothing", async () => {
  await using scratch = newScratch();
  await using own = startS3("b");
  const place = { endpoint: own.endpoint, bucket: "b", prefix: "", ...s3Keys };
  const staged = join(scratch.path, "staged");
  writeFileSync(staged, "x");
  const digest = sha256(Buffer.from("x"));
  const wrong = new S3Storage({ ...place, secretAccessKey: "guess" });
  await expect(wrong.put(digest, staged)).rejects.toThrow(`Cannot ask for blobs in the bucket "b" at ${own.endpoint}`);
  await using registry = await serveRegistry({ root: join(scratch.path, "root"), storage: new S3Storage(place) });
  own.isDown = true;
  const answer = await pushBlob(registry.url, "a", new Uint8Array(Buffer.from("x")));
  expect([answer.status, await errorCode(answer)]).toEqual([503, "UNKNOWN"]);
  own.isDown = false;
  expect((await fetch(`${registry.url}/v2/a/blobs/${digest}`)).status).toBe(404);
  expect(own.objects.size).toBe(0);
  expect((await pushBlob(registry.url, "a", new Uint8Array(Buffer.from("x")))).status).toBe(201);
  expect([...own.objects.keys()]).toEqual([digest.replace(":", "/")]);
});
