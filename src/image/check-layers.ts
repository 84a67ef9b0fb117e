import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { decompress, hashingStream, readTar } from "../archive/index.ts";
import type { Layer } from "../snapshot/index.ts";
import type { ImageServices } from "./image-record.ts";

/** How a layer's files were found to be what its diffID says: by packing them, or by comparison with the archive they came in. */
export type LayerProof = "packed" | "compared";

/**
 * Looks at every file of a layer. Packed again, a layer that this engine made gives its diffID. One of another packer may give other
 * bytes: then its blob, which must unpack to the diffID, is compared with the files, entry by entry: kind, mode, owner, time, target and
 * content (not extended attributes, nor times of directories). Answers the proof, or what is wrong.
 */
export async function checkLayer(
  services: ImageServices,
  layer: Layer,
): Promise<{ proof: LayerProof } | { problem: string }> {
  const { snapshots, table, content } = services;
  if (!existsSync(snapshots.layerDirectory(layer.chainId))) return { problem: "its directory is gone" };
  try {
    const packed = await fingerprint(snapshots.packLayer(layer.chainId));
    if (packed.digest === layer.diffId) return { proof: "packed" };
    const blob = table.blobOf(layer.diffId);
    if (!blob || !content.has(blob.digest)) {
      return { problem: `its files pack to "${packed.digest}", and no blob is here to compare them with` };
    }
    const came = await fingerprint(decompress(content.open(blob.digest)));
    if (came.digest !== layer.diffId) return { problem: `its blob "${blob.digest}" unpacks to "${came.digest}"` };
    const difference = firstDifference(came.entries, packed.entries);
    return difference === undefined ? { proof: "compared" } : { problem: difference };
  } catch (error) {
    return { problem: `it cannot be read: ${(error as Error).message}` };
  }
}

type Entries = ReadonlyMap<string, string>;

/** Of a tar: the digest of its bytes, and what each name in it means. */
async function fingerprint(tar: AsyncIterable<Uint8Array>): Promise<{ digest: string; entries: Entries }> {
  const entries = new Map<string, string>();
  const whole = hashingStream(tar);
  for await (const { header, body } of readTar(whole.stream)) {
    const name = nameOf(header.name);
    const owner = `${header.uid}:${header.gid} ${(header.mode & 0o7777).toString(8)}`;
    if (header.type === "hardlink") {
      entries.set(name, entries.get(nameOf(header.linkName)) ?? `a link to nothing: ${header.linkName}`);
    } else if (header.type === "file") {
      const hash = createHash("sha256");
      for await (const chunk of body) hash.update(chunk);
      entries.set(name, `file ${owner} ${header.mtimeNs / 1_000_000_000n} ${hash.digest("hex")}`);
    } else if (header.type === "directory") {
      entries.set(name, `directory ${owner}`);
    } else {
      const device = header.type === "symlink" ? "" : ` ${header.major}:${header.minor}`;
      entries.set(name, `${header.type} ${owner} ${header.linkName}${device}`);
    }
  }
  return { digest: whole.digest(), entries };
}

function firstDifference(came: Entries, found: Entries): string | undefined {
  for (const [name, what] of came) {
    const now = found.get(name);
    if (now === what || isWhiteout(name) || name === "") continue;
    return now === undefined ? `"${name}" is missing` : `"${name}" is "${now}", and came as "${what}"`;
  }
  for (const [name, what] of found) {
    // Directories that an archive implies are made without being listed in it.
    if (came.has(name) || isWhiteout(name) || what.startsWith("directory ")) continue;
    return `"${name}" is too much`;
  }
  return undefined;
}

/** A whiteout of what is not below is not kept. */
function isWhiteout(name: string): boolean {
  return /(^|\/)\.wh\.[^/]*$/.test(name);
}

function nameOf(name: string): string {
  return name
    .replace(/^(\.?\/)+/, "")
    .replace(/\/+$/, "")
    .replace(/^\.$/, "");
}
