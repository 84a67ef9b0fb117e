import { join } from "node:path";
import { shortId } from "../common/index.ts";
import { checkBlob, setBlobAside } from "../content/index.ts";
import { familiarString, parseReference } from "../spec/index.ts";
import { checkLayer } from "./check-layers.ts";
import type { Finding } from "./finding.ts";
import type { ImageServices } from "./image-record.ts";
import { referenceText } from "./image-table.ts";

/** Names that broken images are moved to. */
const brokenRepository = "docker.io/broken";

/** What was looked at; `packed` and `compared` say how layers were verified. */
export interface ImageCheckCounts {
  blobs: number;
  packed: number;
  compared: number;
  images: number;
}

/** Verifies blobs, layers, images and the records between them; see `Finding`. A finding's `mend` may be called until the next is asked for. */
export async function* checkImages(services: ImageServices, counts: ImageCheckCounts): AsyncGenerator<Finding> {
  const lost = new Set<string>();
  for await (const { digest, finding } of checkBlobs(services, counts)) {
    lost.add(digest);
    yield finding;
  }
  const broken = new Map<string, string>();
  for (const layer of services.snapshots.layers()) {
    const found = await checkLayer(services, layer);
    // Removed meanwhile: nothing to say of it.
    if (!services.snapshots.layer(layer.chainId)) continue;
    if ("proof" in found) {
      counts[found.proof]++;
      continue;
    }
    broken.set(layer.chainId, found.problem);
    yield {
      kind: "layer",
      subject: layer.chainId,
      problem: `${found.problem} (${services.snapshots.layerDirectory(layer.chainId)})`,
      remedy: "stays with the images that stand on it; when they are removed, a pull makes it anew",
    };
  }
  yield* danglingRecords(services);
  for (const id of services.table.ids()) {
    counts.images++;
    const finding = imageFinding(services, { id, lost, broken });
    if (finding) yield finding;
  }
}

async function* checkBlobs(
  services: ImageServices,
  counts: ImageCheckCounts,
): AsyncGenerator<{ digest: string; finding: Finding }> {
  const { content, db, paths, table } = services;
  const recorded = new Set(content.digests());
  for (const digest of recorded) {
    counts.blobs++;
    const problem = await checkBlob({ paths, db }, digest);
    if (problem === undefined) continue;
    const mend = (): void => {
      setBlobAside({ paths, db }, digest, join(paths.root, "broken"));
      table.forgetBlob(digest);
    };
    yield {
      digest,
      finding: {
        kind: "blob",
        subject: digest,
        problem,
        remedy: `is moved to "${join(paths.root, "broken")}", and what it carried is made anew when it is needed`,
        mend,
      },
    };
  }
  for (const digest of table.contentDigests()) {
    if (recorded.has(digest) || content.has(digest) || table.has(digest) || !digest.startsWith("sha256:")) continue;
    // A digest by which a registry knows an image need not be here.
    if (!table.needsBlob(digest)) continue;
    yield {
      digest,
      finding: {
        kind: "blob",
        subject: digest,
        problem: "it is recorded with an image, and is not here",
        remedy: "is forgotten, and made anew when it is needed",
        mend: () => table.forgetBlob(digest),
      },
    };
  }
}

/** Rows that name what is not there. */
function* danglingRecords({ db }: ImageServices): Generator<Finding> {
  const noImage = "NOT IN (SELECT id FROM images)";
  const kinds = [
    { table: "image_tags", subject: "repository || ':' || tag", column: "image_id", kind: "reference" },
    { table: "image_digests", subject: "repository || '@' || digest", column: "image_id", kind: "reference" },
    { table: "image_layers", subject: "image_id || ' ' || position", column: "image_id", kind: "record" },
    { table: "image_manifests", subject: "digest", column: "image_id", kind: "record" },
    { table: "index_images", subject: "manifest_digest", column: "image_id", kind: "record" },
  ] as const;
  for (const { table, subject, column, kind } of kinds) {
    const rows = db
      .query<{ subject: string; image: string }, []>(
        `SELECT ${subject} AS subject, ${column} AS image FROM ${table} WHERE ${column} ${noImage}`,
      )
      .all();
    for (const row of rows) {
      yield {
        kind,
        subject: kind === "reference" ? familiarString(parseReference(row.subject)) : `${table} ${row.subject}`,
        problem: `it names the image "${shortId(row.image)}", which is not here`,
        remedy: "is removed",
        mend: () => void db.run(`DELETE FROM ${table} WHERE ${column} = ? AND ${column} ${noImage}`, [row.image]),
      };
    }
  }
}

interface Damage {
  readonly id: string;
  /** Digests of blobs that are damaged or gone. */
  readonly lost: ReadonlySet<string>;
  /** Layers by chainID, and what is wrong with each. */
  readonly broken: ReadonlyMap<string, string>;
}

function imageFinding(services: ImageServices, { id, lost, broken }: Damage): Finding | undefined {
  const { table, content, snapshots } = services;
  const references = table.references(id);
  const names = references.map(referenceText);
  const subject = names.length > 0 ? `${shortId(id)} (${names.join(", ")})` : shortId(id);
  if (lost.has(id) || !content.has(id)) {
    return {
      kind: "image",
      subject,
      problem: "its config is damaged or gone, and an image is nothing without",
      remedy: "is forgotten with its names: pull or load it again",
      mend: () =>
        table.atomically(() => {
          for (const reference of references) table.removeReference(reference);
          table.delete(id);
        }),
    };
  }
  const chainIds = table.layerChainIds(id);
  const missing = chainIds.find((chainId) => !snapshots.layer(chainId));
  const damaged = chainIds.find((chainId) => broken.has(chainId));
  const layer = missing ?? damaged;
  if (layer === undefined) return undefined;
  const problem = missing ? `its layer "${shortId(layer)}" is not here` : `its layer "${shortId(layer)}" is damaged`;
  if (names.length > 0 && references.every(({ repository }) => repository.startsWith(brokenRepository))) {
    return { kind: "image", subject, problem, remedy: `is kept apart: remove it with "vitrine rmi ${names[0]}"` };
  }
  return {
    kind: "image",
    subject,
    problem,
    remedy: `is moved away by name, to "broken/…": remove it there, and pull or load it again`,
    mend: () => moveAway(services, id),
  };
}

/** Gives a broken image names that nobody uses by mistake, and takes the old ones. */
function moveAway({ table }: ImageServices, id: string): void {
  table.atomically(() => {
    const references = table.references(id);
    const tags = references.filter((reference) => "tag" in reference);
    for (const { repository, tag } of tags) table.putTag(id, { repository: brokenName(repository), tag });
    if (tags.length === 0) table.putTag(id, { repository: `${brokenRepository}/${shortId(id)}`, tag: "latest" });
    for (const reference of references) table.removeReference(reference);
  });
}

/** `docker.io/library/app` → `docker.io/broken/app`; `localhost:5000/app` → `docker.io/broken/localhost-5000/app`. */
function brokenName(repository: string): string {
  const bare = repository.replace(/^docker\.io\/(library\/)?/, "");
  return `${brokenRepository}/${bare.toLowerCase().replaceAll(/[^a-z0-9/._-]+/g, "-")}`;
}
