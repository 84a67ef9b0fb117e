import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  defaultFrontendOptions,
  type BuildRequest,
  type BuildResult,
  type CacheTarget,
} from "../../../src/build/index.ts";
import { TestBuilder } from "../../support/build-fixture.ts";
import { newScratch } from "../../support/scratch.ts";

const dockerfile = `FROM test/base AS tool
RUN echo tool > /tool
FROM test/base
COPY --from=tool /tool /got
COPY file /file
RUN cat /file /got > /both
CMD cat /both
`;

interface Built {
  readonly result: BuildResult;
  /** Operations that ran, by name. */
  readonly ran: readonly string[];
  readonly lines: string;
}

/** An engine of its own, so that nothing is cached there but what a cache from elsewhere brings. */
async function onFreshEngine<Value>(work: (builder: TestBuilder) => Promise<Value>): Promise<Value> {
  await using scratch = newScratch();
  using builder = new TestBuilder(scratch.path);
  await builder.importBase();
  return await work(builder);
}

async function build(
  { builder }: TestBuilder,
  folder: string,
  options: Pick<BuildRequest, "cacheFrom" | "cacheTo"> & Partial<Pick<BuildRequest, "dialect">>,
): Promise<Built> {
  const tree = { root: folder, [Symbol.asyncDispose]: async () => {} };
  const absent = async (): Promise<undefined> => {};
  const session = { files: async () => tree, secret: absent, ssh: absent, credentials: absent };
  const events = builder.solve({
    session,
    frontend: defaultFrontendOptions,
    dialect: "buildkit",
    tags: [],
    entitlements: [],
    ...options,
  });
  const ran = new Set<string>();
  let lines = "";
  for (;;) {
    const { done, value } = await events.next();
    if (done) return { result: value, ran: [...ran], lines };
    if (value.type === "line") lines += value.text;
    if (value.type !== "status") continue;
    for (const { name, completedMs, cached, error } of value.status.vertexes) {
      if (/ (RUN|COPY) /.test(name) && completedMs !== undefined && !cached && error === undefined) ran.add(name);
    }
  }
}

function contextIn(folder: string): string {
  const context = join(folder, "context");
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, "Dockerfile"), dockerfile);
  writeFileSync(join(context, "file"), "of the context\n");
  return context;
}

function place(folder: string, mode: "min" | "max"): CacheTarget {
  mkdirSync(folder, { recursive: true });
  return { type: "registry", reference: folder, mode, ignoreError: false };
}

/** Fills a cache with a whole build and answers the folder that it is in. */
async function filledCache(folder: string, mode: "min" | "max" = "max"): Promise<string> {
  const cache = join(folder, "cache");
  const first = await onFreshEngine((engine) => build(engine, contextIn(folder), { cacheTo: [place(cache, mode)] }));
  expect(first.ran).toHaveLength(4);
  return cache;
}

/** What another engine makes of a cache. */
function buildFrom(folder: string, cache: string): Promise<Built & { readonly layers: number; readonly both: string }> {
  return onFreshEngine(async (engine) => {
    const before = engine.snapshots.layers().length;
    const built = await build(engine, contextIn(folder), { cacheFrom: [{ type: "registry", reference: cache }] });
    const top = engine.snapshots.layerDirectory(built.result.layers.at(-1) ?? "");
    expect(readdirSync(engine.paths.temporary)).toEqual([]);
    return {
      ...built,
      layers: engine.snapshots.layers().length - before,
      both: readFileSync(join(top, "both"), "utf8"),
    };
  });
}

test("another engine finds every step in a cache, and brings only the layers that its result has", async () => {
  await using scratch = newScratch();
  const cache = await filledCache(scratch.path);
  const second = await buildFrom(scratch.path, cache);
  expect(second.ran).toEqual([]);
  expect(second.lines).toBe("");
  expect(second.both).toBe("of the context\ntool\n");
  // The stage of the tool has a layer too, which nothing here is made of.
  expect(second.layers).toBe(3);
});

test("a classic build takes the same cache", async () => {
  await using scratch = newScratch();
  const cache = await filledCache(scratch.path);
  await onFreshEngine(async (engine) => {
    engine.executor.cacheFolders.set("app:cache", cache);
    const options = { cacheFrom: [{ type: "registry" as const, reference: "app:cache" }], dialect: "classic" as const };
    const built = await build(engine, contextIn(scratch.path), options);
    expect(built.ran).toEqual([]);
    expect(engine.executor.steps).toEqual([]);
  });
});

test("a cache of the result alone spares the steps of the result", async () => {
  await using scratch = newScratch();
  const cache = await filledCache(scratch.path, "min");
  const second = await buildFrom(scratch.path, cache);
  expect(second.ran.map((name) => name.replace(/^\S+ \S+ /, ""))).toEqual(["RUN echo tool > /tool"]);
});

test("what a build took from a cache is in the engine's own from then on", async () => {
  await using scratch = newScratch();
  const cache = await filledCache(scratch.path);
  await onFreshEngine(async (engine) => {
    const context = contextIn(scratch.path);
    await build(engine, context, { cacheFrom: [{ type: "registry", reference: cache }] });
    const again = await build(engine, context, {});
    expect(again.ran.map((name) => name.replace(/^\S+ \S+ /, ""))).toEqual(["RUN echo tool > /tool"]);
  });
});

test("an image with an inline cache is one", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path);
  const config = await onFreshEngine(async (engine) => {
    const { result } = await build(engine, context, { cacheTo: [{ type: "inline" }] });
    return result.config as unknown as Record<string, string>;
  });
  const records = JSON.parse(Buffer.from(config["moby.buildkit.cache.v0"] ?? "", "base64").toString()) as {
    digest: string;
  }[];
  expect(records.length).toBe(3);
  expect(records.every(({ digest }) => /^sha256:[0-9a-f]{64}$/.test(digest))).toBe(true);
});

interface Manifest {
  config: { digest: string; size: number };
  layers: { digest: string; size: number }[];
}

function manifestOf(cache: string): Manifest {
  return JSON.parse(readFileSync(join(cache, "manifest"), "utf8")) as Manifest;
}

function blobIn(cache: string, digest: string): string {
  return join(cache, digest.replace(":", "-"));
}

/** Puts another config in place, with a manifest that says the truth of it. */
function rewriteConfig(
  cache: string,
  change: (config: { layers: Record<string, unknown>[]; records: unknown[] }) => void,
): void {
  const manifest = manifestOf(cache);
  const config = JSON.parse(readFileSync(blobIn(cache, manifest.config.digest), "utf8")) as {
    layers: Record<string, unknown>[];
    records: unknown[];
  };
  change(config);
  const bytes = Buffer.from(JSON.stringify(config));
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  writeFileSync(blobIn(cache, digest), bytes);
  writeFileSync(
    join(cache, "manifest"),
    JSON.stringify({ ...manifest, config: { ...manifest.config, digest, size: bytes.length } }),
  );
}

const lies: readonly (readonly [what: string, spoil: (cache: string) => void, warning: RegExp])[] = [
  [
    "has layers of other bytes",
    (cache) => {
      for (const { digest } of manifestOf(cache).layers) {
        const path = blobIn(cache, digest);
        const bytes = readFileSync(path);
        writeFileSync(path, bytes.fill(bytes[20]! ^ 1, 20, 21));
      }
    },
    /is not used: .*sha256:/,
  ],
  [
    "has layers that are cut",
    (cache) => {
      for (const { digest } of manifestOf(cache).layers) truncateSync(blobIn(cache, digest), 40);
    },
    /is not used: /,
  ],
  [
    "says that layers hold other files",
    (cache) =>
      rewriteConfig(cache, ({ layers }) => {
        for (const layer of layers) {
          const annotations = layer["annotations"] as Record<string, unknown>;
          annotations["diffID"] = annotations["diffID"] === layers[0]?.["blob"] ? "" : `sha256:${"1".repeat(64)}`;
        }
      }),
    /is not used: /,
  ],
  [
    "has a loop of layers",
    (cache) =>
      rewriteConfig(cache, ({ layers }) => {
        for (const layer of layers) layer["parent"] = layers.length - 1;
      }),
    /stands on itself/,
  ],
  [
    "names layers that it does not have",
    (cache) =>
      rewriteConfig(cache, ({ records }) => {
        (records[0] as { layers: unknown[] }).layers = [{ layer: 77 }];
      }),
    /record 0 names the layer 77/,
  ],
  [
    "has a config that is no JSON",
    (cache) => {
      const { config } = manifestOf(cache);
      writeFileSync(blobIn(cache, config.digest), "x".repeat(config.size));
    },
    /its config is not "sha256:/,
  ],
  [
    "says that its config is huge",
    (cache) => {
      const manifest = manifestOf(cache);
      writeFileSync(
        join(cache, "manifest"),
        JSON.stringify({ ...manifest, config: { ...manifest.config, size: 2 ** 40 } }),
      );
    },
    /its config has 1099511627776 bytes/,
  ],
  ["has no manifest but noise", (cache) => writeFileSync(join(cache, "manifest"), "\x00\x01"), /is not used: /],
];

for (const [what, spoil, warning] of lies) {
  test(`a cache that ${what} is told of and not used, and the build is as it would be without`, async () => {
    await using scratch = newScratch();
    const cache = await filledCache(scratch.path);
    spoil(cache);
    const built = await buildFrom(scratch.path, cache);
    expect(built.lines).toMatch(warning);
    expect(built.both).toBe("of the context\ntool\n");
    expect(built.ran).toHaveLength(4);
  });
}

test("a cache is written in BuildKit's form: a manifest of layers whose config has records", async () => {
  await using scratch = newScratch();
  const cache = await filledCache(scratch.path);
  const manifest = manifestOf(cache);
  expect(manifest.config).toMatchObject({ mediaType: "application/vnd.buildkit.cacheconfig.v0" });
  for (const { digest, size } of [manifest.config, ...manifest.layers]) {
    const bytes = readFileSync(blobIn(cache, digest));
    expect(bytes.length).toBe(size);
    const [said] = new TextDecoder().decode(Bun.spawnSync(["sha256sum", blobIn(cache, digest)]).stdout).split(" ");
    expect(`sha256:${said}`).toBe(digest);
  }
  expect(statSync(blobIn(cache, manifest.config.digest)).size).toBeGreaterThan(100);
});
