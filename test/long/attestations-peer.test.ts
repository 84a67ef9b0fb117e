import { expect, test } from "bun:test";
import { join } from "node:path";
import { defaultRegistrySettings } from "../../src/registry/index.ts";
import { startDebianRegistry } from "../support/debian-registry.ts";
import { once, openImages, tarOf } from "../support/image-fixture.ts";
import { newScratch } from "../support/scratch.ts";

interface Listed {
  readonly manifests: { readonly digest: string; readonly artifactType?: string }[];
}

/** A manifest or index as skopeo gets it. */
function skopeo(reference: string): Listed {
  const run = Bun.spawnSync(["skopeo", "inspect", "--raw", "--tls-verify=false", `docker://${reference}`]);
  if (run.exitCode !== 0) throw new Error(`skopeo failed: ${run.stderr.toString()}`);
  return JSON.parse(run.stdout.toString()) as Listed;
}

test("a registry that knows no referrers gets them listed under a tag, each once", async () => {
  await using scratch = newScratch();
  await using registry = await startDebianRegistry(join(scratch.path, "registry"));
  using engine = openImages(join(scratch.path, "engine"));
  const reference = `${registry.host}/app:v1`;
  const options = { reference, changes: [], message: "" };
  for await (const _ of engine.images.import(once(await tarOf([{ name: "hello", text: "x" }])), options));
  const { id } = engine.images.get(reference);
  await engine.images.attest(id, { predicateType: "https://spdx.dev/Document", predicate: { name: "one" } });
  const push = async (): Promise<Listed> => {
    for await (const _ of engine.images.push(reference, { settings: defaultRegistrySettings }));
    return skopeo(reference);
  };
  const index = await push();
  const [image, attestation] = index.manifests;
  const tag = `${registry.host}/app:${(image?.digest ?? "").replace(":", "-")}`;
  const listed = { digest: attestation?.digest, artifactType: "application/vnd.docker.attestation.manifest.v1+json" };
  expect(skopeo(tag).manifests).toMatchObject([listed]);
  await push();
  expect(skopeo(tag).manifests).toHaveLength(1);

  await engine.images.attest(id, { predicateType: "https://spdx.dev/Document", predicate: { name: "two" } });
  const second = (await push()).manifests[1]?.digest;
  expect(skopeo(tag).manifests.map(({ digest }) => digest)).toEqual([attestation?.digest ?? "", second ?? ""]);
}, 60_000);
