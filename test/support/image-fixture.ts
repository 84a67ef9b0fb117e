import { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { packEntries, tarHeader, type TarEntry } from "../../src/archive/index.ts";
import { Paths } from "../../src/common/index.ts";
import { ContentStore } from "../../src/content/index.ts";
import { ImageStore } from "../../src/image/index.ts";
import { createOverlay2, type Snapshotter } from "../../src/snapshot/index.ts";
import type { ProgressMessage } from "../../src/spec/index.ts";

/** One engine's images under a folder; opening the same folder again is a restart. */
export interface ImageFixture extends Disposable {
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
  readonly content: ContentStore;
  readonly paths: Paths;
}

export function openImages(folder: string, bunPath = process.execPath): ImageFixture {
  const paths = new Paths(join(folder, "root"), join(folder, "run"));
  Bun.spawnSync(["mkdir", "-p", paths.root, paths.run]);
  const db = new Database(paths.database);
  db.run("PRAGMA journal_mode = WAL");
  const content = new ContentStore({ paths, db });
  const snapshots = createOverlay2({ paths, db });
  const images = new ImageStore({ paths, db, content, snapshots, bunPath });
  return { images, snapshots, content, paths, [Symbol.dispose]: () => db.close() };
}

export interface TestFile {
  readonly name: string;
  readonly text?: string | Uint8Array;
  readonly linkTo?: string;
  readonly mode?: number;
}

/** A tar of plain files; names that end with a slash are directories. */
export async function tarOf(files: readonly TestFile[]): Promise<Buffer> {
  return collectBytes(packEntries(entriesOf(files)));
}

async function* entriesOf(files: readonly TestFile[]): AsyncGenerator<TarEntry> {
  for (const { name, text = "", linkTo, mode } of files) {
    const bytes = Buffer.from(text);
    if (linkTo !== undefined) {
      yield {
        header: tarHeader({ name, type: "symlink", mode: 0o777, linkName: linkTo }),
        body: once(Buffer.alloc(0)),
      };
    } else if (name.endsWith("/")) {
      yield {
        header: tarHeader({ name: name.slice(0, -1), type: "directory", mode: mode ?? 0o755 }),
        body: once(Buffer.alloc(0)),
      };
    } else {
      yield { header: tarHeader({ name, type: "file", mode: mode ?? 0o644, size: bytes.length }), body: once(bytes) };
    }
  }
}

export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** In small pieces, as a socket may give them. */
export async function* inPieces(bytes: Uint8Array, sizeBytes = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

export async function collectBytes(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export async function collectMessages(stream: AsyncIterable<ProgressMessage>): Promise<ProgressMessage[]> {
  const messages: ProgressMessage[] = [];
  for await (const message of stream) messages.push(message);
  return messages;
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The bytes of a config over these layer tars, with one history entry each. */
export function configFor(layers: readonly Uint8Array[], extra: Record<string, unknown> = {}): Buffer {
  const history = layers.map((_, index) => ({
    created: `2024-01-0${index + 1}T00:00:00Z`,
    created_by: `step ${index + 1}`,
  }));
  return Buffer.from(
    JSON.stringify({
      created: "2024-02-03T04:05:06.789Z",
      architecture: "amd64",
      os: "linux",
      config: { Env: ["PATH=/bin"], Cmd: ["sh"] },
      rootfs: { type: "layers", diff_ids: layers.map(sha256) },
      history,
      "unknown.member": [1, 2, 3],
      ...extra,
    }),
  );
}
