// The points of the OCI distribution specification 1.1 that a registry must meet, each with its section's requests and answers.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { serveRegistry, type RegistryServer } from "../../src/registry/index.ts";
import { sha256, smallImage } from "../support/oci-layout.ts";
import {
  errorCode,
  indexType,
  manifestType,
  mustBe,
  pushBlob,
  pushImage,
  putManifest,
} from "../support/registry-calls.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

let scratch: Scratch;
let registry: RegistryServer;
let url = "";
const image = smallImage("conformance");
const [config = "", layer = ""] = image.blobs.keys();
const layerBytes = image.blobs.get(layer) ?? new Uint8Array();
const absent = sha256(Buffer.from("absent"));
const bytes = new Uint8Array(Buffer.from("0123456789"));

beforeAll(async () => {
  scratch = newScratch();
  registry = await serveRegistry({ root: scratch.path });
  ({ url } = registry);
  await pushImage(url, "a/b", { image, tag: "v1" });
});

afterAll(async () => {
  await registry.close();
  await scratch[Symbol.asyncDispose]();
});

const uploads = "/v2/c/blobs/uploads/";
const json = (value: unknown): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(JSON.stringify(value)));

async function begin(repository = "c"): Promise<string> {
  const answer = await mustBe(202, await fetch(`${url}/v2/${repository}/blobs/uploads/`, { method: "POST" }));
  return `${url}${answer.headers.get("Location")}`;
}

function patch(location: string, body: string, range?: string): Promise<Response> {
  return fetch(location, { method: "PATCH", body, headers: range === undefined ? {} : { "Content-Range": range } });
}

/** method, path, status, error code */
const refusals: readonly (readonly [string, string, number, string])[] = [
  ["GET", "/v2/a/b/blobs/sha256:1234", 400, "DIGEST_INVALID"],
  ["GET", `/v2/a/b/blobs/md5:${"0".repeat(32)}`, 400, "DIGEST_INVALID"],
  ["GET", `/v2/a/b/blobs/${absent}`, 404, "BLOB_UNKNOWN"],
  ["GET", `/v2/other/blobs/${layer}`, 404, "BLOB_UNKNOWN"],
  ["GET", "/v2/a/b/manifests/nope", 404, "MANIFEST_UNKNOWN"],
  ["GET", `/v2/a/b/manifests/${absent}`, 404, "MANIFEST_UNKNOWN"],
  ["GET", "/v2/nowhere/manifests/v1", 404, "NAME_UNKNOWN"],
  ["GET", "/v2/a/b/manifests/.dot", 400, "MANIFEST_INVALID"],
  ["GET", `/v2/a/b/manifests/${"x".repeat(129)}`, 400, "MANIFEST_INVALID"],
  ["GET", "/v2/a/b/manifests/sha256:xyz", 400, "DIGEST_INVALID"],
  ["GET", "/v2/A/manifests/v1", 400, "NAME_INVALID"],
  ["GET", "/v2/a..b/manifests/v1", 400, "NAME_INVALID"],
  ["GET", `/v2/${"a".repeat(256)}/tags/list`, 400, "NAME_INVALID"],
  ["GET", "/v2/a%2f..%2f..%2fetc/blobs/x", 400, "NAME_INVALID"],
  ["GET", `/v2/a/b/blobs/..%2f..%2fregistry.db`, 400, "DIGEST_INVALID"],
  ["GET", "/v2/nowhere/tags/list", 404, "NAME_UNKNOWN"],
  ["GET", "/v2/a/b/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"],
  ["GET", "/v2/a/b/referrers/sha256:12", 400, "DIGEST_INVALID"],
  ["DELETE", `/v2/a/b/blobs/${absent}`, 404, "BLOB_UNKNOWN"],
  ["DELETE", "/v2/a/b/manifests/nope", 404, "MANIFEST_UNKNOWN"],
  ["DELETE", `/v2/a/b/manifests/${absent}`, 404, "MANIFEST_UNKNOWN"],
  ["GET", "/v2/c/blobs/uploads/nope", 404, "BLOB_UPLOAD_UNKNOWN"],
  ["PATCH", "/v2/c/blobs/uploads/nope", 404, "BLOB_UPLOAD_UNKNOWN"],
  ["PUT", `/v2/c/blobs/uploads/nope?digest=${absent}`, 404, "BLOB_UPLOAD_UNKNOWN"],
  ["DELETE", "/v2/c/blobs/uploads/nope", 404, "BLOB_UPLOAD_UNKNOWN"],
  ["POST", `${uploads}?digest=sha256:12`, 400, "DIGEST_INVALID"],
  ["POST", `${uploads}?digest-algorithm=md5`, 400, "DIGEST_INVALID"],
  ["POST", `/v2/a/b/manifests/v1`, 405, "UNSUPPORTED"],
  ["PUT", "/v2/a/b/tags/list", 405, "UNSUPPORTED"],
  ["GET", "/v1/", 404, "UNSUPPORTED"],
];

describe("refused, in the specification's JSON", () => {
  for (const [method, path, status, code] of refusals) {
    test(`${method} ${path.slice(0, 80)} is ${status} ${code}`, async () => {
      const answer = await fetch(`${url}${path}`, { method });
      expect(answer.headers.get("Content-Type")).toBe("application/json");
      expect([answer.status, await errorCode(answer)]).toEqual([status, code]);
    });
  }
});

describe("pull", () => {
  test("GET /v2/ says which API it is", async () => {
    const answer = await fetch(`${url}/v2/`);
    expect([answer.status, answer.headers.get("Docker-Distribution-Api-Version")]).toEqual([200, "registry/2.0"]);
  });

  for (const reference of ["v1", image.manifestDigest, image.manifestDigest.replace(":", "%3A")]) {
    test(`a manifest comes by ${reference.slice(0, 12)} as it was pushed, and HEAD says the same without it`, async () => {
      const path = `${url}/v2/a/b/manifests/${reference}`;
      for (const method of ["GET", "HEAD"]) {
        const answer = await fetch(path, { method });
        expect(answer.status).toBe(200);
        expect(answer.headers.get("Docker-Content-Digest")).toBe(image.manifestDigest);
        expect(answer.headers.get("Content-Type")).toBe(manifestType);
        expect(answer.headers.get("Content-Length")).toBe(String(image.manifest.length));
        expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from(method === "GET" ? image.manifest : []));
      }
    });
  }

  /** Range header, status, bytes, Content-Range */
  const ranges: readonly (readonly [string, number, string, string | null])[] = [
    ["bytes=0-3", 206, "0123", "bytes 0-3/10"],
    ["bytes=8-", 206, "89", "bytes 8-9/10"],
    ["bytes=-3", 206, "789", "bytes 7-9/10"],
    ["bytes=5-99", 206, "56789", "bytes 5-9/10"],
    ["bytes=0-1,4-5", 200, "0123456789", null],
    ["lines=1-2", 200, "0123456789", null],
  ];
  for (const [range, status, text, contentRange] of ranges) {
    test(`a blob with Range "${range}" is ${status} "${text}"`, async () => {
      await mustBe(201, await pushBlob(url, "ranges", bytes));
      const answer = await fetch(`${url}/v2/ranges/blobs/${sha256(bytes)}`, { headers: { Range: range } });
      const seen = [answer.status, await answer.text(), answer.headers.get("Content-Range")];
      expect(seen).toEqual([status, text, contentRange]);
    });
  }

  for (const [range, what] of [
    ["bytes=10-", "behind the end"],
    ["bytes=4-2", "that ends before it begins"],
  ] as const) {
    test(`a range ${what} is 416 with the size`, async () => {
      await mustBe(201, await pushBlob(url, "ranges", bytes));
      const answer = await fetch(`${url}/v2/ranges/blobs/${sha256(bytes)}`, { headers: { Range: range } });
      expect([answer.status, answer.headers.get("Content-Range")]).toEqual([416, "bytes */10"]);
    });
  }

  test("what did not change is 304, and If-Range with another tag gives the whole", async () => {
    const blob = `${url}/v2/a/b/blobs/${layer}`;
    const manifest = `${url}/v2/a/b/manifests/v1`;
    expect((await fetch(blob, { headers: { "If-None-Match": `"${layer}"` } })).status).toBe(304);
    expect((await fetch(blob, { headers: { "If-None-Match": '"other"' } })).status).toBe(200);
    expect((await fetch(manifest, { headers: { "If-None-Match": `W/"${image.manifestDigest}"` } })).status).toBe(304);
    const ranged = await fetch(blob, { headers: { Range: "bytes=0-0", "If-Range": '"other"' } });
    expect([ranged.status, (await ranged.arrayBuffer()).byteLength]).toEqual([200, layerBytes.length]);
  });
});

describe("push", () => {
  test("a blob comes whole in one POST", async () => {
    const answer = await fetch(`${url}${uploads}?digest=${sha256(bytes)}`, { method: "POST", body: bytes });
    expect([answer.status, answer.headers.get("Location")]).toEqual([201, `/v2/c/blobs/${sha256(bytes)}`]);
    expect(await (await fetch(`${url}${answer.headers.get("Location")}`)).text()).toBe("0123456789");
  });

  test("chunks come in order, the status tells how far, and the last may come with the PUT", async () => {
    const location = await begin();
    expect((await fetch(location)).headers.get("Range")).toBe("0-0");
    const first = await patch(location, "01234", "0-4");
    expect([first.status, first.headers.get("Range")]).toEqual([202, "0-4"]);
    const status = await fetch(location);
    expect([status.status, status.headers.get("Range")]).toEqual([204, "0-4"]);
    await mustBe(201, await fetch(`${location}?digest=${sha256(bytes)}`, { method: "PUT", body: "56789" }));
    expect((await fetch(location)).status).toBe(404);
  });

  for (const [range, why] of [
    ["7-9", "leaves a gap"],
    ["0-2", "comes again"],
    ["x-y", "is no range"],
  ] as const) {
    test(`a chunk that ${why} is 416, and the upload goes on from where it was`, async () => {
      const location = await begin();
      await mustBe(202, await patch(location, "0123", "0-3"));
      const answer = await patch(location, "abc", range);
      expect(answer.status).toBe(416);
      if (range !== "x-y") expect(answer.headers.get("Range")).toBe("0-3");
      await mustBe(202, await patch(location, "456789", "4-9"));
      await mustBe(201, await fetch(`${location}?digest=${sha256(bytes)}`, { method: "PUT" }));
    });
  }

  test("a chunk whose range and length differ is SIZE_INVALID", async () => {
    expect(await errorCode(await patch(await begin(), "abc", "0-9"))).toBe("SIZE_INVALID");
  });

  test("other bytes than the digest says are DIGEST_INVALID, and the upload is gone", async () => {
    const location = await begin();
    const answer = await fetch(`${location}?digest=${absent}`, { method: "PUT", body: "something else" });
    expect([answer.status, await errorCode(answer)]).toEqual([400, "DIGEST_INVALID"]);
    expect((await fetch(location)).status).toBe(404);
    expect((await fetch(`${url}/v2/c/blobs/${absent}`)).status).toBe(404);
  });

  test("a cancelled upload is gone", async () => {
    const location = await begin();
    expect((await fetch(location, { method: "DELETE" })).status).toBe(204);
    expect((await patch(location, "x")).status).toBe(404);
  });

  test("an empty blob and a sha512 one are kept", async () => {
    await mustBe(201, await pushBlob(url, "c", new Uint8Array()));
    expect((await fetch(`${url}/v2/c/blobs/${sha256(new Uint8Array())}`)).status).toBe(200);
    const digest = `sha512:${new Bun.CryptoHasher("sha512").update(bytes).digest("hex")}`;
    await mustBe(201, await fetch(`${await begin()}?digest=${digest}`, { method: "PUT", body: bytes }));
    expect(await (await fetch(`${url}/v2/c/blobs/${digest}`)).text()).toBe("0123456789");
  });

  test("a blob is mounted from another repository, and uploaded where that cannot be", async () => {
    const mounted = await fetch(`${url}/v2/mounts/blobs/uploads/?mount=${layer}&from=a/b`, { method: "POST" });
    expect([mounted.status, mounted.headers.get("Location")]).toEqual([201, `/v2/mounts/blobs/${layer}`]);
    expect((await fetch(`${url}/v2/mounts/blobs/${layer}`)).status).toBe(200);
    for (const query of [
      `mount=${absent}&from=a/b`,
      `mount=${layer}&from=nowhere`,
      `mount=${absent}`,
      "mount=x&from=Y",
    ]) {
      const answer = await fetch(`${url}/v2/mounts2/blobs/uploads/?${query}`, { method: "POST" });
      expect([query, answer.status]).toEqual([query, 202]);
    }
  });

  test("a blob is mounted without the name of a repository that has it", async () => {
    const mounted = await fetch(`${url}/v2/mounts3/blobs/uploads/?mount=${layer}`, { method: "POST" });
    expect([mounted.status, mounted.headers.get("Location")]).toEqual([201, `/v2/mounts3/blobs/${layer}`]);
  });

  test("a manifest pushed by digest takes the tags of its query, and says which", async () => {
    for (const bytes of image.blobs.values()) await mustBe(201, await pushBlob(url, "several", bytes));
    const push = (tags: string): Promise<Response> =>
      putManifest(url, `several/manifests/${image.manifestDigest}?${tags}`, { bytes: image.manifest });
    const answer = await push("tag=1.2.3&tag=1.2&tag=1");
    expect([answer.status, answer.headers.get("OCI-Tag")]).toEqual([201, "1.2.3, 1.2, 1"]);
    const listed = (await (await fetch(`${url}/v2/several/tags/list`)).json()) as { tags: string[] };
    expect(listed.tags).toEqual(["1", "1.2", "1.2.3"]);
    expect(await errorCode(await push("tag=ok&tag=.no"))).toBe("MANIFEST_INVALID");
    expect((await push(Array.from({ length: 101 }, (_, n) => `tag=t${n}`).join("&"))).status).toBe(414);
    expect((await fetch(`${url}/v2/several/manifests/ok`)).status).toBe(404);
  });

  /** What is wrong, manifest, media type, status, code */
  const good = JSON.parse(new TextDecoder().decode(image.manifest)) as Record<string, unknown>;
  const badManifests: readonly (readonly [string, Uint8Array<ArrayBuffer>, string, number, string])[] = [
    ["no JSON", new Uint8Array([123]), manifestType, 400, "MANIFEST_INVALID"],
    ["a list", json([]), manifestType, 400, "MANIFEST_INVALID"],
    [
      "schema 1",
      json({ schemaVersion: 1 }),
      "application/vnd.docker.distribution.manifest.v1+json",
      400,
      "MANIFEST_INVALID",
    ],
    ["another mediaType inside", json({ ...good, mediaType: indexType }), manifestType, 400, "MANIFEST_INVALID"],
    ["an unknown type", json(good), "text/plain", 400, "MANIFEST_INVALID"],
    ["no config", json({ ...good, config: undefined }), manifestType, 400, "MANIFEST_INVALID"],
    [
      "a layer that is not here",
      json({ ...good, layers: [{ mediaType: "x", digest: absent, size: 1 }] }),
      manifestType,
      404,
      "MANIFEST_BLOB_UNKNOWN",
    ],
    [
      "a layer of another size",
      json({ ...good, layers: [{ mediaType: "x", digest: layer, size: 1 }] }),
      manifestType,
      400,
      "MANIFEST_INVALID",
    ],
    [
      "an index of what is not here",
      json({ schemaVersion: 2, manifests: [{ mediaType: manifestType, digest: absent, size: 1 }] }),
      indexType,
      404,
      "MANIFEST_BLOB_UNKNOWN",
    ],
    ["more than 4 MiB", new Uint8Array(4 * 1024 * 1024 + 1), manifestType, 413, "MANIFEST_INVALID"],
  ];
  for (const [what, body, type, status, code] of badManifests) {
    test(`a manifest with ${what} is ${status} ${code}, and the tag does not move`, async () => {
      const answer = await putManifest(url, "a/b/manifests/v1", { bytes: body, type });
      expect([answer.status, await errorCode(answer)]).toEqual([status, code]);
      expect((await fetch(`${url}/v2/a/b/manifests/v1`)).headers.get("Docker-Content-Digest")).toBe(
        image.manifestDigest,
      );
    });
  }

  test("a manifest pushed by another digest than its own is DIGEST_INVALID", async () => {
    const answer = await putManifest(url, `a/b/manifests/${absent}`, { bytes: image.manifest });
    expect([answer.status, await errorCode(answer)]).toEqual([400, "DIGEST_INVALID"]);
  });
});

describe("tags", () => {
  test("come in order, paged by n and last, with a Link to the rest", async () => {
    await pushImage(url, "paged", { image, tag: "v1" });
    for (const tag of ["b", "a", "D", "c1"])
      await putManifest(url, `paged/manifests/${tag}`, { bytes: image.manifest });
    const list = async (query: string): Promise<[string[], string | null]> => {
      const answer = await fetch(`${url}/v2/paged/tags/list${query}`);
      return [((await answer.json()) as { tags: string[] }).tags, answer.headers.get("Link")];
    };
    expect(await list("")).toEqual([["D", "a", "b", "c1", "v1"], null]);
    expect(await list("?n=2")).toEqual([["D", "a"], '</v2/paged/tags/list?n=2&last=a>; rel="next"']);
    expect(await list("?n=2&last=a")).toEqual([["b", "c1"], '</v2/paged/tags/list?n=2&last=c1>; rel="next"']);
    expect(await list("?n=2&last=c1")).toEqual([["v1"], null]);
    expect(await list("?last=azzz")).toEqual([["b", "c1", "v1"], null]);
    expect(await list("?n=0")).toEqual([[], null]);
    expect(await list("?n=100&last=zzz")).toEqual([[], null]);
  });
});

describe("referrers", () => {
  const about = (subject: string, extra: Record<string, unknown>): Uint8Array<ArrayBuffer> => {
    const { config, layers } = JSON.parse(new TextDecoder().decode(image.manifest)) as Record<string, unknown>;
    return json({
      schemaVersion: 2,
      mediaType: manifestType,
      config,
      layers,
      subject: { mediaType: manifestType, digest: subject, size: 400 },
      ...extra,
    });
  };
  const referrers = async (query = ""): Promise<[{ digest: string; artifactType?: string }[], Headers]> => {
    const answer = await mustBe(200, await fetch(`${url}/v2/a/b/referrers/${absent}${query}`));
    return [((await answer.json()) as { manifests: { digest: string }[] }).manifests, answer.headers];
  };

  test("are an empty index, then each manifest about it, also before the subject is there; filtered by artifactType", async () => {
    const [none, headers] = await referrers();
    expect([none, headers.get("Content-Type")]).toEqual([[], indexType]);
    const signature = about(absent, { artifactType: "application/x-signature", annotations: { by: "me" } });
    const plain = about(absent, {});
    for (const bytes of [signature, plain]) {
      const answer = await mustBe(201, await putManifest(url, `a/b/manifests/${sha256(bytes)}`, { bytes }));
      expect(answer.headers.get("OCI-Subject")).toBe(absent);
    }
    const [both] = await referrers();
    expect(both.map(({ digest }) => digest).sort()).toEqual([sha256(signature), sha256(plain)].sort());
    const [filtered, filteredHeaders] = await referrers("?artifactType=application/x-signature");
    expect(filtered).toEqual([
      {
        mediaType: manifestType,
        digest: sha256(signature),
        size: signature.length,
        artifactType: "application/x-signature",
        annotations: { by: "me" },
      } as never,
    ]);
    expect(filteredHeaders.get("OCI-Filters-Applied")).toBe("artifactType");
    // An image without artifactType is of the type of its config.
    const [byConfig] = await referrers("?artifactType=application/vnd.oci.image.config.v1%2Bjson");
    expect(byConfig.map(({ digest }) => digest)).toEqual([sha256(plain)]);
    const [firstPage, pageHeaders] = await referrers("?n=1");
    expect(firstPage).toHaveLength(1);
    expect(pageHeaders.get("Link")).toContain(`last=${firstPage[0]?.digest.replace(":", "%3A")}`);
    await mustBe(202, await fetch(`${url}/v2/a/b/manifests/${sha256(signature)}`, { method: "DELETE" }));
    expect((await referrers())[0]).toHaveLength(1);
  });

  test("of clients that know only the tag schema are an index under a tag like any other", async () => {
    const tag = absent.replace(":", "-");
    const bytes = json({ schemaVersion: 2, mediaType: indexType, manifests: [] });
    await mustBe(201, await putManifest(url, `a/b/manifests/${tag}`, { bytes, type: indexType }));
    expect(await (await fetch(`${url}/v2/a/b/manifests/${tag}`)).text()).toBe(new TextDecoder().decode(bytes));
  });
});

describe("deletion", () => {
  test("of a tag leaves the manifest, of the manifest takes its tags, of a blob takes it from one repository", async () => {
    await pushImage(url, "gone", { image, tag: "one" });
    await putManifest(url, "gone/manifests/two", { bytes: image.manifest });
    expect((await fetch(`${url}/v2/gone/manifests/one`, { method: "DELETE" })).status).toBe(202);
    expect((await fetch(`${url}/v2/gone/manifests/two`)).status).toBe(200);
    expect((await fetch(`${url}/v2/gone/manifests/${image.manifestDigest}`, { method: "DELETE" })).status).toBe(202);
    expect((await fetch(`${url}/v2/gone/manifests/two`)).status).toBe(404);
    expect((await fetch(`${url}/v2/gone/blobs/${config}`, { method: "DELETE" })).status).toBe(202);
    expect((await fetch(`${url}/v2/gone/blobs/${config}`)).status).toBe(404);
    expect((await fetch(`${url}/v2/a/b/blobs/${config}`)).status).toBe(200);
  });
});
