import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  build,
  Builder,
  defaultFrontendOptions,
  type ClassicBuildRequest,
  type Executor,
  type ExecutorStep,
  type FrontendOptions,
} from "../../src/build/index.ts";
import { EngineError, Paths } from "../../src/common/index.ts";
import { ContentStore } from "../../src/content/index.ts";
import { ImageStore, type ImageRecord } from "../../src/image/index.ts";
import { mount, unmount } from "../../src/kernel/index.ts";
import { createOverlay2, type Snapshotter } from "../../src/snapshot/index.ts";
import type { ProgressMessage } from "../../src/spec/index.ts";
import { once, tarOf, type TestFile } from "./image-fixture.ts";
import { mountsBelow } from "./scratch.ts";

const applets = "sh cat echo ls mkdir touch rm true id stat env readlink sleep seq head ln chmod".split(" ");

/** Options of a test's build, the frontend's beside the others. */
export type TestBuildOptions = Partial<Omit<ClassicBuildRequest, "frontend" | "context">> & Partial<FrontendOptions>;

/** A small engine for builds: real layers, mounts and images; RUN is a chroot in namespaces of its own. */
export class TestBuilder implements Disposable {
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
  readonly paths: Paths;
  readonly executor: ChrootExecutor;
  readonly builder: Builder;
  readonly #db: Database;

  constructor(folder: string, options: { cacheBudgetBytes?: number } = {}) {
    this.paths = new Paths(join(folder, "root"), join(folder, "run"));
    for (const path of [this.paths.root, this.paths.run, this.paths.temporary]) mkdirSync(path, { recursive: true });
    this.#db = new Database(this.paths.database);
    const { paths } = this;
    const content = new ContentStore({ paths, db: this.#db });
    this.snapshots = createOverlay2({ paths, db: this.#db });
    this.images = new ImageStore({
      paths,
      db: this.#db,
      content,
      snapshots: this.snapshots,
      bunPath: process.execPath,
    });
    this.executor = new ChrootExecutor(this.snapshots, this.images);
    const { images, snapshots, executor } = this;
    this.builder = new Builder({ images, snapshots, executor, paths, db: this.#db, ...options });
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  /** An image `test/base` of busybox alone. */
  async importBase(): Promise<void> {
    const files: TestFile[] = [
      { name: "bin/" },
      { name: "bin/busybox", text: readFileSync("/usr/bin/busybox"), mode: 0o755 },
      ...applets.map((name) => ({ name: `bin/${name}`, linkTo: "busybox" })),
      { name: "etc/" },
      { name: "etc/passwd", text: "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n" },
      { name: "etc/group", text: "root:x:0:\napps:x:2000:\n" },
      { name: "usr/" },
      { name: "usr/lib/" },
      { name: "lib", linkTo: "/usr/lib" },
      { name: "tmp/", mode: 0o1777 },
    ];
    const options = { reference: "test/base", changes: [], message: "" };
    for await (const _ of this.images.import(once(await tarOf(files)), options));
  }

  build(files: readonly TestFile[], options: TestBuildOptions = {}): AsyncGenerator<ProgressMessage> {
    return this.buildContext(contextOf(files), options);
  }

  buildContext(context: AsyncIterable<Uint8Array>, options: TestBuildOptions = {}): AsyncGenerator<ProgressMessage> {
    const { tags, quiet, why, verify, removeIntermediate, forceRemove, entitlements, signal, ...frontend } = options;
    const request: ClassicBuildRequest = {
      context,
      frontend: { ...defaultFrontendOptions, ...frontend },
      tags: tags ?? [],
      quiet: quiet ?? false,
      why: why ?? false,
      verify: verify ?? false,
      removeIntermediate: removeIntermediate ?? true,
      forceRemove: forceRemove ?? false,
      entitlements: entitlements ?? [],
      signal,
    };
    return build(this.builder, request);
  }

  /** Builds to the end: everything printed as one text, and the image. */
  async run(files: readonly TestFile[], options: TestBuildOptions = {}): Promise<{ text: string; image: ImageRecord }> {
    let text = "";
    let id = "";
    for await (const message of this.build(files, options)) {
      text += message.stream ?? "";
      if (message.aux) id = (message.aux as { ID: string }).ID;
    }
    return { text, image: this.images.get(id) };
  }

  /** The error that a build ends with, and what it printed before. */
  async fail(
    files: readonly TestFile[],
    options: TestBuildOptions = {},
  ): Promise<{ text: string; error: EngineError }> {
    let text = "";
    try {
      for await (const message of this.build(files, options)) text += message.stream ?? "";
    } catch (error) {
      if (error instanceof EngineError) return { text, error };
      throw error;
    }
    throw new Error(`The build was to fail and printed:\n${text}`);
  }

  /** Runs a program of the host on an image's mounted files, with `{}` in its arguments as the root. */
  async look(image: ImageRecord, ...command: string[]): Promise<string> {
    const key = `look-${Math.random()}`;
    await this.snapshots.prepare(key, image.chainId, { hostFiles: false });
    const root = this.snapshots.mergedDirectory(key);
    for (const request of this.snapshots.mounts(key)) mount(request);
    try {
      const result = Bun.spawnSync(command.map((word) => word.replaceAll("{}", root)));
      return result.stdout.toString() + result.stderr.toString();
    } finally {
      unmount(root, { lazy: true });
      await this.snapshots.remove(key);
    }
  }

  /** What a build must not leave behind: active snapshots, mounts, unpacked contexts. */
  leftovers(): string[] {
    const context = readdirSync(this.paths.temporary).filter((name) => name.startsWith("build-"));
    return [...this.snapshots.keys(), ...mountsBelow(this.paths.root), ...context];
  }
}

async function* contextOf(files: readonly TestFile[]): AsyncGenerator<Uint8Array> {
  yield await tarOf(files);
}

/** Carries out RUN with unshare(1) and chroot(1) on the real, mounted snapshot. */
export class ChrootExecutor implements Executor {
  readonly steps: ExecutorStep[] = [];

  constructor(
    readonly snapshots: Snapshotter,
    readonly images: ImageStore,
  ) {}

  async settled(): Promise<void> {}

  /** Folders by names that references may have. */
  readonly cacheFolders = new Map<string, string>();

  /** Caches in folders of this machine: what registries are to an engine. */
  async cacheRepository(name: string): ReturnType<Executor["cacheRepository"]> {
    const folder = this.cacheFolders.get(name) ?? name;
    const path = (digest: string): string => join(folder, digest.replace(":", "-"));
    return {
      manifest: async () => readFileSync(path("manifest")),
      async *blob({ digest }) {
        yield readFileSync(path(digest));
      },
      has: async (digest) => existsSync(path(digest)),
      async put({ digest }, open) {
        await Bun.write(path(digest), Buffer.concat(await Array.fromAsync(open())));
      },
      putManifest: async (bytes) => void (await Bun.write(path("manifest"), bytes)),
    };
  }

  async resolveBase(reference: string): Promise<ImageRecord> {
    return this.images.get(reference);
  }

  async run(step: ExecutorStep, onOutput: Parameters<Executor["run"]>[1]): Promise<{ exitCode: number }> {
    this.steps.push(step);
    const root = this.snapshots.mergedDirectory(step.snapshotKey);
    for (const request of this.snapshots.mounts(step.snapshotKey)) mount(request);
    try {
      const enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "chroot", root];
      const inside = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', step.config.WorkingDir || "/", ...step.command];
      const environment = Object.fromEntries((step.config.Env ?? []).map((entry) => entry.split(/=(.*)/s, 2)));
      const child = Bun.spawn([...enter, ...inside], {
        env: { ...environment, PATH: "/usr/sbin:/usr/bin:/bin" },
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      });
      const stop = (): void => child.kill("SIGKILL");
      if (step.signal?.aborted) stop();
      step.signal?.addEventListener("abort", stop);
      const copy = async (stream: "stdout" | "stderr"): Promise<void> => {
        for await (const data of child[stream]) await onOutput({ stream, data });
      };
      await Promise.all([copy("stdout"), copy("stderr")]);
      const exitCode = await child.exited;
      if (step.signal?.aborted) throw new EngineError("cancelled", "The step was stopped");
      return { exitCode };
    } finally {
      unmount(root, { lazy: true });
    }
  }
}
