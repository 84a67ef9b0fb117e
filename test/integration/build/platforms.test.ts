import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { imageKey, requireRunnable } from "../../../src/build/build-platform.ts";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { newScratch } from "../../support/scratch.ts";

const engine = busyboxEngine();
const foreign = process.arch === "arm64" ? "amd64" : "arm64";
const own = process.arch === "arm64" ? "arm64" : "amd64";

function contextIn(folder: string, dockerfile: string): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "Dockerfile"), dockerfile);
  writeFileSync(join(folder, "file"), "copied\n");
  return folder;
}

test("an image of another platform is made where nothing of it runs, by a stage that runs here", async () => {
  await using scratch = newScratch();
  const dockerfile = [
    "FROM --platform=$BUILDPLATFORM busybox AS cross",
    "ARG BUILDPLATFORM TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT",
    'RUN echo "$BUILDPLATFORM to $TARGETPLATFORM: $TARGETOS $TARGETARCH ($TARGETVARIANT)" > /made',
    "FROM scratch",
    "COPY --from=cross /made /made",
    "COPY file /",
    'CMD ["/made"]',
    "",
  ].join("\n");
  const context = contextIn(scratch.path, dockerfile);
  for (const progress of [[], ["--progress", "plain"]]) {
    await engine.must("build", ...progress, "--platform", `linux/${foreign}`, "-t", "of-another", context);
    const said = await engine.must("image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", "of-another");
    expect(said).toBe(`linux/${foreign}`);
  }
  const out = join(scratch.path, "out");
  await engine.must("build", "--platform", `linux/${foreign}/v9`, "-o", out, context);
  expect(await Bun.file(join(out, "made")).text()).toBe(`linux/${own} to linux/${foreign}/v9: linux ${foreign} (v9)\n`);
  expect(readdirSync(out).toSorted()).toEqual(["file", "made"]);
});

test("what was built for another platform is the base of the next, and its commands are refused by name", async () => {
  await using scratch = newScratch();
  const platform = `linux/${foreign}`;
  await engine.must(
    "build",
    "--platform",
    platform,
    "-t",
    "foreign-base",
    contextIn(join(scratch.path, "a"), "FROM scratch\nCOPY file /a\n"),
  );
  const next = contextIn(join(scratch.path, "b"), "FROM foreign-base\nCOPY file /b\nENV A=1\n");
  await engine.must("build", "--platform", platform, "-t", "foreign-next", next);
  expect(
    await engine.must("image", "inspect", "--format", "{{.Architecture}} {{len .RootFS.Layers}}", "foreign-next"),
  ).toBe(`${foreign} 2`);
  const run = contextIn(join(scratch.path, "c"), "FROM foreign-base\nRUN true\n");
  const emulated = readdirSync("/proc/sys/fs/binfmt_misc").some((name) => name.startsWith("qemu-"));
  const { exitCode, stderr } = await engine.vitrine("build", "--platform", platform, run);
  expect(exitCode).not.toBe(0);
  if (!emulated)
    expect(stderr).toMatch(/RUN for the platform "linux\/\w+" needs an emulator.*install "qemu-user-static"/);
});

test("an emulator counts when the kernel has it enabled and open", async () => {
  await using scratch = newScratch();
  const entry = join(scratch.path, "qemu-s390x");
  const refused = /RUN for the platform "linux\/s390x" needs an emulator/;
  expect(() => requireRunnable("linux/s390x", scratch.path)).toThrow(refused);
  writeFileSync(entry, "enabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: OC\noffset 0\n");
  expect(() => requireRunnable("linux/s390x", scratch.path)).toThrow(refused);
  writeFileSync(entry, "disabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: OCF\noffset 0\n");
  expect(() => requireRunnable("linux/s390x", scratch.path)).toThrow(refused);
  writeFileSync(entry, "enabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: OCF\noffset 0\n");
  requireRunnable("linux/s390x", scratch.path);
  requireRunnable(undefined, scratch.path);
  expect(imageKey({ reference: "a", platform: "linux/s390x" })).not.toBe(imageKey({ reference: "a" }));
});

test("platforms that are none and other systems are refused by name", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, "FROM scratch\nCOPY file /\n");
  const refusals: [string, RegExp][] = [
    ["windows/amd64", /"windows\/amd64" cannot be built here/],
    ["linux/a/b/c", /is an invalid platform/],
  ];
  for (const [platform, words] of refusals) {
    const { exitCode, stderr } = await engine.vitrine("build", "--platform", platform, context);
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(words);
  }
});
