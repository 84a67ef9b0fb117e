// Named contexts of the kind oci-layout: images out of a folder of the client.
import { expect, test } from "bun:test";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { newScratch } from "../../support/scratch.ts";
import { runProgram } from "../../support/test-engine.ts";

const engine = busyboxEngine();

/** The image of a small Dockerfile as a layout on disk, and no longer among the engine's images. */
async function layoutIn(scratch: string, text: string): Promise<{ layout: string; context: string }> {
  const [source, layout, context] = ["source", "layout", "context"].map((name) => join(scratch, name));
  for (const folder of [source, layout, context]) mkdirSync(folder ?? "");
  writeFileSync(join(source ?? "", "Dockerfile"), "FROM scratch\nCOPY said /said\nENV FROM_LAYOUT=yes\n");
  writeFileSync(join(source ?? "", "said"), text);
  const archive = join(scratch, "archive.tar");
  await engine.must("build", "-o", `type=oci,dest=${archive},name=layout:v1`, source ?? "");
  await runProgram(["tar", "-xf", archive, "-C", layout ?? ""]);
  await engine.must("builder", "prune", "-af");
  writeFileSync(join(context ?? "", "Dockerfile"), "FROM base\nCOPY --from=other /said /again\n");
  return { layout: layout ?? "", context: context ?? "" };
}

test("an image of a layout is a base and gives files, by its tag and by its digest", async () => {
  await using scratch = newScratch();
  const { layout, context } = await layoutIn(scratch.path, "out of a layout\n");
  const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as {
    manifests: { digest: string }[];
  };
  const byTag = `base=oci-layout://${layout}:v1`;
  const byDigest = `other=oci-layout://${layout}@${manifests[0]?.digest}`;
  for (const progress of [[], ["--progress", "plain"]]) {
    const words = [...progress, "--build-context", byTag, "--build-context", byDigest, "--provenance=true"];
    await engine.must("build", ...words, "-t", "on-a-layout", context);
    expect(await engine.must("image", "inspect", "--format", "{{json .Config.Env}}", "on-a-layout")).toContain(
      "FROM_LAYOUT=yes",
    );
  }
  const out = join(scratch.path, "out");
  await engine.must("build", "--build-context", byTag, "--build-context", byDigest, "-o", out, context);
  for (const name of ["said", "again"]) expect(readFileSync(join(out, name), "utf8")).toBe("out of a layout\n");
});

test("a layout without the tag, or with a blob that is another, is refused by name", async () => {
  await using scratch = newScratch();
  const { layout, context } = await layoutIn(scratch.path, "to be changed\n");
  const build = (tag: string): ReturnType<typeof engine.vitrine> => {
    const words = ["base", "other"].flatMap((name) => ["--build-context", `${name}=oci-layout://${layout}:${tag}`]);
    return engine.vitrine("build", ...words, context);
  };
  expect((await build("v2")).stderr).toContain(`the layout "${layout}" has no image with the tag "v2"`);
  const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as {
    manifests: { digest: string }[];
  };
  const manifest = join(layout, "blobs", (manifests[0]?.digest ?? "").replace(":", "/"));
  appendFileSync(manifest, " ");
  const { exitCode, stderr, stdout } = await build("v1");
  expect(exitCode).not.toBe(0);
  expect(stderr + stdout).toMatch(/its manifest is "sha256:\w+", not/);
});
