import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { serveRegistry, type RegistryStorage } from "../../src/registry/index.ts";
import { sha256, smallImage } from "../support/oci-layout.ts";
import { mustBe, pushBlob, pushImage, putManifest } from "../support/registry-calls.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

/** What every place for a registry's blobs must do. `make` gets a folder of its own. */
export function describeStorage(name: string, make: (folder: string) => RegistryStorage): void {
  describe(`${name} as the storage of a registry`, () => {
    let scratch: Scratch;
    let storage: RegistryStorage;
    const bytes = crypto.getRandomValues(new Uint8Array(50_000));
    const digest = sha256(bytes);

    const put = async (content: Uint8Array, as: string): Promise<string> => {
      const staged = join(scratch.path, "staged");
      writeFileSync(staged, content);
      await storage.put(as, staged);
      return staged;
    };
    const read = (range?: { start: number; end: number }): Promise<Uint8Array> =>
      new Response(storage.open(digest, range)).bytes();
    const listed = async (): Promise<string[]> => (await Array.fromAsync(storage.digests())).sort();

    beforeAll(() => {
      scratch = newScratch();
      storage = make(join(scratch.path, "blobs"));
    });
    afterAll(() => scratch[Symbol.asyncDispose]());

    test("has nothing at first, and removing what is not there is no error", async () => {
      expect(await storage.size(digest)).toBeUndefined();
      await storage.remove(digest);
      expect(await listed()).toEqual([]);
    });

    test("takes a staged file over, also twice, and gives its bytes back, whole and in parts", async () => {
      for (let turn = 0; turn < 2; turn++) expect(existsSync(await put(bytes, digest))).toBe(false);
      expect(await storage.size(digest)).toBe(bytes.length);
      expect(Buffer.from(await read())).toEqual(Buffer.from(bytes));
      const part = await read({ start: 1000, end: 30_000 });
      expect(Buffer.from(part)).toEqual(Buffer.from(bytes.slice(1000, 30_000)));
    });

    test("takes several parts' worth, and nothing at all", async () => {
      const large = new Uint8Array(20 * 1024 * 1024).fill(7);
      await put(large, sha256(large));
      expect(await storage.size(sha256(large))).toBe(large.length);
      const stored = await new Response(storage.open(sha256(large))).bytes();
      expect(sha256(stored)).toBe(sha256(large));
      await storage.remove(sha256(large));
      const empty = new Uint8Array();
      await put(empty, sha256(empty));
      expect(await storage.size(sha256(empty))).toBe(0);
      await storage.remove(sha256(empty));
    });

    test("lists every digest of both algorithms, and not what was removed", async () => {
      const others = ["one", "two", "three"].map((text) => new Uint8Array(Buffer.from(text)));
      const sha512 = `sha512:${new Bun.CryptoHasher("sha512").update(bytes).digest("hex")}`;
      for (const other of others) await put(other, sha256(other));
      await put(bytes, sha512);
      expect(await listed()).toEqual([digest, sha512, ...others.map(sha256)].sort());
      for (const other of [...others.map(sha256), sha512]) await storage.remove(other);
      expect(await listed()).toEqual([digest]);
    });

    test("refuses a digest that would lead elsewhere", () => {
      expect(() => storage.open("sha256:../../etc/passwd")).toThrow("is no digest");
    });

    test("serves a registry: push, pull, range and collection, once nothing of another registry is in it", async () => {
      const options = { root: join(scratch.path, "root"), storage, limits: { graceMs: -1 }, collectEveryMs: 0 };
      await expect(serveRegistry(options)).rejects.toThrow("holds blobs of another registry");
      await storage.remove(digest);
      await using registry = await serveRegistry(options);
      const image = smallImage(name);
      await pushImage(registry.url, "a", { image, tag: "v1" });
      for (const [key, content] of image.blobs) {
        const answer = await mustBe(200, await fetch(`${registry.url}/v2/a/blobs/${key}`));
        expect(answer.headers.get("Content-Length")).toBe(String(content.length));
        expect(answer.headers.get("Docker-Content-Digest")).toBe(key);
        expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from(content));
        const part = await fetch(`${registry.url}/v2/a/blobs/${key}`, { headers: { Range: "bytes=3-9" } });
        expect([part.status, part.headers.get("Content-Range")]).toEqual([206, `bytes 3-9/${content.length}`]);
        expect(Buffer.from(await part.arrayBuffer())).toEqual(Buffer.from(content.slice(3, 10)));
      }
      await fetch(`${registry.url}/v2/a/manifests/${image.manifestDigest}`, { method: "DELETE" });
      await registry.collect();
      expect(await listed()).toEqual([]);
    });

    test("keeps what was taken while a collector that spares nothing races pushes of one image at once", async () => {
      const options = { root: join(scratch.path, "root"), storage, limits: { graceMs: -1 }, collectEveryMs: 0 };
      await using registry = await serveRegistry(options);
      const image = smallImage(`${name} raced`);
      const state = { isDone: false };
      const collector = (async () => {
        for (; !state.isDone; await Bun.sleep(0)) await registry.collect();
      })();
      const push = async (repository: string): Promise<void> => {
        for (let turn = 0; turn < 5; turn++) {
          for (const content of image.blobs.values()) await pushBlob(registry.url, repository, content);
          const path = `${repository}/manifests/v1`;
          if ((await putManifest(registry.url, path, { bytes: image.manifest })).status !== 201) continue;
          for (const [key, content] of image.blobs) {
            const answer = await mustBe(200, await fetch(`${registry.url}/v2/${repository}/blobs/${key}`));
            expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from(content));
          }
          await fetch(`${registry.url}/v2/${repository}/manifests/${image.manifestDigest}`, { method: "DELETE" });
        }
      };
      await Promise.all(["a", "b", "c", "d"].map(push)).finally(() => (state.isDone = true));
      await collector;
      for (const repository of ["a", "b", "c", "d"])
        await fetch(`${registry.url}/v2/${repository}/manifests/${image.manifestDigest}`, { method: "DELETE" });
      await registry.collect();
      expect(await listed()).toEqual([]);
    });

    test("takes an upload up after a restart, and one that is abandoned half way expires and leaves nothing", async () => {
      const root = join(scratch.path, "root");
      let location = "";
      let abandoned = "";
      {
        await using registry = await serveRegistry({ root, storage, collectEveryMs: 0 });
        const begin = async (): Promise<string> => {
          const begun = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: "POST" });
          const path = begun.headers.get("Location") ?? "";
          await mustBe(202, await fetch(`${registry.url}${path}`, { method: "PATCH", body: bytes.slice(0, 20_000) }));
          return path;
        };
        [location, abandoned] = [await begin(), await begin()];
      }
      const limits = { uploadExpiryMs: -1, graceMs: -1 };
      await using registry = await serveRegistry({ root, storage, collectEveryMs: 0, limits });
      const answer = await fetch(`${registry.url}${location}?digest=${digest}`, {
        method: "PUT",
        body: bytes.slice(20_000),
      });
      await mustBe(201, answer);
      expect(Buffer.from(await read())).toEqual(Buffer.from(bytes));
      expect((await registry.collect()).uploadsExpired).toBe(1);
      expect((await fetch(`${registry.url}${abandoned}`)).status).toBe(404);
      expect(readdirSync(join(root, "uploads"))).toEqual([]);
      expect(await listed()).toEqual([]);
    });

    test("is filled by a cache, from whose upstream a blob comes once", async () => {
      await using upstream = await serveRegistry({ root: join(scratch.path, "upstream") });
      const image = smallImage(`${name} cached`);
      await pushImage(upstream.url, "a", { image, tag: "v1" });
      const options = { root: join(scratch.path, "cache"), storage, upstream: { url: upstream.url, ttlMs: 3_600_000 } };
      await using cache = await serveRegistry({ ...options, collectEveryMs: 0 });
      for (const [key, content] of image.blobs) {
        const answer = await mustBe(200, await fetch(`${cache.url}/v2/a/blobs/${key}`));
        expect(answer.headers.get("Content-Length")).toBe(String(content.length));
        expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from(content));
      }
      expect(await listed()).toEqual([...image.blobs.keys()].sort());
      await upstream.close();
      for (const key of image.blobs.keys()) await mustBe(200, await fetch(`${cache.url}/v2/a/blobs/${key}`));
    });
  });
}
