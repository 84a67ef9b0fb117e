import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { FolderStorage, S3Storage, serveRegistry } from "../../src/registry/index.ts";
import type { RegistryStorage } from "../../src/registry/storage-contract.ts";
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

test("a storage that breaks off in the middle of a blob cuts the answer, and the log says so", async () => {
  await using scratch = newScratch();
  const lines: string[] = [];
  const log = (level: string, message: string): void => void lines.push(`${level} ${message}`);
  const storage: RegistryStorage = new FolderStorage(join(scratch.path, "blobs"));
  storage.open = () => {
    const pieces = [new Uint8Array(1_000_000)];
    return new ReadableStream({
      pull(controller) {
        const next = pieces.pop();
        if (next) controller.enqueue(next);
        else throw new Error("the line is dead");
      },
    });
  };
  await using registry = await serveRegistry({ root: join(scratch.path, "root"), storage, log });
  const bytes = crypto.getRandomValues(new Uint8Array(3_000_000));
  expect((await pushBlob(registry.url, "a", bytes)).status).toBe(201);
  const curl = Bun.spawn(["curl", "-s", "-o", "/dev/null", `${registry.url}/v2/a/blobs/${sha256(bytes)}`]);
  expect([18, 56]).toContain(await curl.exited);
  expect(lines).toEqual([`error "${sha256(bytes)}" broke off in the ${storage.description}: the line is dead`]);
});

test("clients are sent to an object store that they reach, with an address that ends; HEAD is answered here", async () => {
  await using scratch = newScratch();
  await using own = startS3("c");
  const place = { endpoint: own.endpoint, bucket: "c", prefix: "p", redirect: true, ...s3Keys };
  await using registry = await serveRegistry({ root: scratch.path, storage: new S3Storage(place) });
  const bytes = crypto.getRandomValues(new Uint8Array(3_000_000));
  const path = `${registry.url}/v2/a/blobs/${sha256(bytes)}`;
  expect((await pushBlob(registry.url, "a", bytes)).status).toBe(201);
  const sent = await fetch(path, { redirect: "manual" });
  const address = new URL(sent.headers.get("Location") ?? "");
  expect([sent.status, address.origin, sent.headers.get("Cache-Control")]).toEqual([307, own.endpoint, "no-store"]);
  const whole = await fetch(path);
  expect([whole.status, whole.headers.get("Content-Length"), sha256(await whole.bytes())]).toEqual([
    200,
    String(bytes.length),
    sha256(bytes),
  ]);
  const part = await fetch(path, { headers: { Range: "bytes=10-19" } });
  expect(Buffer.from(await part.arrayBuffer())).toEqual(Buffer.from(bytes.subarray(10, 20)));
  const head = await fetch(path, { method: "HEAD", redirect: "manual" });
  expect([head.status, head.headers.get("Content-Length")]).toEqual([200, String(bytes.length)]);
  address.searchParams.set("X-Amz-Expires", "9999999");
  expect((await fetch(address)).status).toBe(403);
});
