import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { serveRegistry, type RegistryStorage } from "../../src/registry/index.ts";
import { sha256, smallImage } from "../support/oci-layout.ts";
import { mustBe, pushImage } from "../support/registry-calls.ts";
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
        expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from(content));
        const part = await fetch(`${registry.url}/v2/a/blobs/${key}`, { headers: { Range: "bytes=3-9" } });
        expect([part.status, part.headers.get("Content-Range")]).toEqual([206, `bytes 3-9/${content.length}`]);
        expect(Buffer.from(await part.arrayBuffer())).toEqual(Buffer.from(content.slice(3, 10)));
      }
      await fetch(`${registry.url}/v2/a/manifests/${image.manifestDigest}`, { method: "DELETE" });
      await registry.collect();
      expect(await listed()).toEqual([]);
    });
  });
}
